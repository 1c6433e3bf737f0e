package filequeue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// checkFile looks through the file before it is opened for writing: bbolt, which
// then looks for free pages on its own, ends the process where it finds damage.
// No crash makes damage; disks and operators do.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return guarded(func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.View(func(b *bolt.Tx) error {
			if b.Size() > info.Size() {
				return fmt.Errorf("the file is damaged: it has %d bytes of %d", info.Size(), b.Size())
			}
			return b.ForEach(func(_ []byte, bucket *bolt.Bucket) error { return walk(bucket) })
		})
	})
}

// walk reads every page of a bucket, and of those in it.
func walk(b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			return nil
		}
		if nested := b.Bucket(k); nested != nil {
			return walk(nested)
		}
		return nil
	})
}
