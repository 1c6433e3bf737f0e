// Package filequeue is a [webhookqueue.Queue] in a folder of this machine.
//
// What it keeps is in one file of bbolt, a B+tree that writes no page in place:
// a transaction is there once its data and then its root have been synced, and
// what was torn by a crash is a transaction that never was. Many Puts and
// settlements share a transaction: while one is synced, the next are gathered.
package filequeue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filelock"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// The files of the folder.
const (
	dataFile    = "queue.db"
	compactFile = "queue.db.new"
	lockFile    = "queue.lock"
)

// Options are what a queue is opened with.
type Options struct {
	// Path is the folder, which is made if it is missing, readable by its
	// owner only. One process at a time has it. Required.
	Path string
	// MaxBytes bounds what is kept, dead letters and the keys of events
	// included; 0 is no bound.
	MaxBytes int64
	// Logger is told of damage and of a disk that does not do. Nil is silence.
	Logger *slog.Logger
}

// Queue is a [webhookqueue.Queue]. Make one with [Open].
type Queue struct {
	path   string
	max    atomic.Int64
	logger *slog.Logger
	unlock func()

	ops     chan *op
	closing chan struct{}
	close   func()
	written chan struct{}

	// swap is held for reading while db is read by others than the writer,
	// and for writing while another file takes its place.
	swap sync.RWMutex
	db   *bolt.DB

	// mu guards what follows: what is in the file, as the last transaction has
	// left it, and who may have it.
	mu       sync.Mutex
	counters counters
	flows    flows
	closed   bool

	compacted time.Time
}

// Open opens the queue and starts its writer, which ends with [Queue.Close].
func Open(o Options) (*Queue, error) {
	if err := os.MkdirAll(o.Path, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	unlock, err := filelock.Lock(filepath.Join(o.Path, lockFile))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("opening %s: another process has it; each process needs a folder of its own", o.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the folder: %w", err)
	}
	q := &Queue{
		path: o.Path, logger: o.Logger, unlock: unlock,
		ops: make(chan *op), closing: make(chan struct{}), written: make(chan struct{}),
	}
	q.close = sync.OnceFunc(func() { close(q.closing) })
	if q.logger == nil {
		q.logger = slog.New(slog.DiscardHandler)
	}
	q.max.Store(o.MaxBytes)
	if err := q.begin(); err != nil {
		unlock()
		return nil, fmt.Errorf("opening %s: %w", filepath.Join(o.Path, dataFile), err)
	}
	go q.write()
	return q, nil
}

// begin opens the file and learns what is in it.
func (q *Queue) begin() (err error) {
	_ = os.Remove(filepath.Join(q.path, compactFile))
	data := filepath.Join(q.path, dataFile)
	if err = checkFile(data); err != nil {
		return err
	}
	if q.db, err = openFile(data); err != nil {
		return err
	}
	if err = q.load(); err != nil {
		_ = q.db.Close()
	}
	return err
}

func openFile(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
}

// load makes the buckets, reads the counters and finds the flows.
func (q *Queue) load() error {
	return guarded(func() error {
		err := q.db.Update(func(b *bolt.Tx) error {
			for _, name := range buckets {
				if _, err := b.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			var err error
			q.counters, err = readCounters(b)
			return err
		})
		if err != nil {
			return err
		}
		q.flows = newFlows()
		return q.db.View(func(b *bolt.Tx) error {
			q.findFlows(b)
			return nil
		})
	})
}

// SetMaxBytes changes [Options.MaxBytes].
func (q *Queue) SetMaxBytes(n int64) { q.max.Store(n) }

// Stats implements [webhookqueue.Queue]. It agrees with what List sees at the time.
func (q *Queue) Stats(ctx context.Context) (s webhookqueue.Stats, err error) {
	err = q.view(ctx, func(b *bolt.Tx) error {
		c, err := readCounters(b)
		if err != nil {
			return err
		}
		s.Waiting, s.Dead, s.Bytes = c.Waiting, c.Dead, c.total()
		if _, v := b.Bucket(bucketMessages).Cursor().First(); v != nil {
			m, err := webhookqueue.Decode(v)
			if err == nil {
				s.Oldest = m.ReceivedAt
			}
		}
		return nil
	})
	s.MaxBytes = q.max.Load()
	return s, err
}

// view reads the file as the last transaction has left it.
func (q *Queue) view(ctx context.Context, read func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.swap.RLock()
	defer q.swap.RUnlock()
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return webhookqueue.ErrClosed
	}
	return guarded(func() error { return q.db.View(read) })
}

// Close implements [webhookqueue.Queue]. It waits for the transaction that is
// under way.
func (q *Queue) Close() error {
	q.close()
	<-q.written
	q.swap.Lock()
	defer q.swap.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	q.flows.wake()
	err := q.db.Close()
	q.unlock()
	return err
}

// guarded makes an error of a panic, which is what bbolt has for a file that is
// damaged.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the file is damaged: %v", webhookqueue.ErrUnavailable, r)
		}
	}()
	return f()
}

// Interface guard
var _ webhookqueue.Queue = (*Queue)(nil)
