package filequeue

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The file is written anew when it has at least compactFrom bytes of which three
// quarters are free, but not all the time, and not where it takes long, because
// nothing is taken in meanwhile.
const (
	compactFrom  = 32 << 20
	compactMost  = 64 << 20
	compactPause = time.Minute
)

// compactIfLarge gives room in the file back to the disk. It is called by the
// writer between two transactions.
func (q *Queue) compactIfLarge() {
	if time.Since(q.compacted) < compactPause {
		return
	}
	info, err := os.Stat(filepath.Join(q.path, dataFile))
	if err != nil || info.Size() < compactFrom {
		return
	}
	stats := q.db.Stats()
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(q.db.Info().PageSize)
	if free < info.Size()/4*3 || info.Size()-free > compactMost {
		return
	}
	q.compacted = time.Now()
	if err := guarded(q.compact); err != nil {
		q.logger.Warn("the file of webhooks could not be made smaller", "path", q.path, "error", err)
	}
}

// compact copies what is in the file to another, which takes its place. A crash
// leaves one or the other.
func (q *Queue) compact() error {
	data, fresh := filepath.Join(q.path, dataFile), filepath.Join(q.path, compactFile)
	_ = os.Remove(fresh)
	to, err := openFile(fresh)
	if err != nil {
		return err
	}
	if err := bolt.Compact(to, q.db, 4<<20); err != nil {
		return fmt.Errorf("copying: %w", discard(to, fresh, err))
	}
	if err := to.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", discard(to, fresh, err))
	}
	if err := os.Rename(fresh, data); err != nil {
		return discard(to, fresh, err)
	}
	if err := syncFolder(q.path); err != nil {
		q.logger.Warn("the folder of webhooks could not be synced", "path", q.path, "error", err)
	}
	q.swap.Lock()
	from := q.db
	q.db = to
	q.swap.Unlock()
	return from.Close()
}

func discard(db *bolt.DB, path string, err error) error {
	_ = db.Close()
	_ = os.Remove(path)
	return err
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
