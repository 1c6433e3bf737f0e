package filequeue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// maxGathered is how many changes share a transaction at the most.
const maxGathered = 1024

// op is a change of the file.
type op struct {
	// apply refuses with an error of [isRefusal] before it changes anything;
	// any other error undoes the whole transaction.
	apply func(*transaction) error
	// adds says that the change needs room. Without room others still work.
	adds bool
	err  error
	done chan error
}

// transaction is what an op works in.
type transaction struct {
	*bolt.Tx
	counters counters
	max      int64
	// settled are the messages that are out no longer, by number.
	settled []uint64
	// touched are the flows in which a message may have come or gone.
	touched map[string]bool
}

// isRefusal tells errors about what was asked from those of the file.
func isRefusal(err error) bool {
	return errors.Is(err, webhookqueue.ErrFull) || errors.Is(err, webhookqueue.ErrNotFound)
}

// submit has a change made, and returns when it is durable.
func (q *Queue) submit(ctx context.Context, adds bool, apply func(*transaction) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{apply: apply, adds: adds, done: make(chan error, 1)}
	select {
	case <-q.closing:
		return webhookqueue.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case q.ops <- o:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-o.done:
		return err
	}
}

// write makes transactions of what is submitted, until the queue is closed.
func (q *Queue) write() {
	defer close(q.written)
	for {
		select {
		case <-q.closing:
			return
		case first := <-q.ops:
			q.commit(q.gather(first))
			q.compactIfLarge()
		}
	}
}

// gather takes what has been submitted meanwhile.
func (q *Queue) gather(first *op) []*op {
	batch := []*op{first}
	for len(batch) < maxGathered {
		select {
		case o := <-q.ops:
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

// commit makes one transaction of a batch. When the disk is full, those that need
// no room are tried again without the others, and make some.
func (q *Queue) commit(batch []*op) {
	err := q.transact(batch)
	if err != nil {
		q.logger.Error("webhooks cannot be written to the disk", "path", q.path, "error", err)
		frees := make([]*op, 0, len(batch))
		for _, o := range batch {
			if o.err = err; !o.adds {
				frees = append(frees, o)
			}
		}
		if len(frees) > 0 && len(frees) < len(batch) {
			if err := q.transact(frees); err != nil {
				for _, o := range frees {
					o.err = err
				}
			}
		}
	}
	for _, o := range batch {
		o.done <- o.err
	}
}

func (q *Queue) transact(batch []*op) error {
	q.mu.Lock()
	t := &transaction{counters: q.counters.clone(), max: q.max.Load(), touched: make(map[string]bool)}
	q.mu.Unlock()
	err := guarded(func() error {
		return q.db.Update(func(b *bolt.Tx) error {
			t.Tx = b
			for _, o := range batch {
				o.err = o.apply(t)
				if o.err != nil && !isRefusal(o.err) {
					return o.err
				}
			}
			return t.counters.save(b)
		})
	})
	switch {
	case err == nil:
	case isDiskFull(err):
		return fmt.Errorf("%w: %w", webhookqueue.ErrFull, err)
	default:
		return fmt.Errorf("%w: %w", webhookqueue.ErrUnavailable, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counters = t.counters
	for _, number := range t.settled {
		q.flows.back(number)
	}
	q.refresh(t.touched)
	return nil
}

// isDiskFull looks at the text too: bbolt does not wrap what it gets when the file
// cannot grow.
func isDiskFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
