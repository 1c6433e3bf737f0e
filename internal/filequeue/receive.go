package filequeue

import (
	"bytes"
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Receive implements [webhookqueue.Queue].
func (q *Queue) Receive(ctx context.Context) (webhookqueue.Delivery, error) {
	for {
		d, again, changed, err := q.take(ctx)
		if d != nil || err != nil {
			return d, err
		}
		if err := wait(ctx, again, changed); err != nil {
			return nil, err
		}
	}
}

// wait returns when something has changed, or at a time that is not zero.
func wait(ctx context.Context, at time.Time, changed <-chan struct{}) error {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-due:
	}
	return nil
}

// take takes the message whose turn it is. Without one it says what to wait for.
func (q *Queue) take(ctx context.Context) (d webhookqueue.Delivery, at time.Time, changed <-chan struct{}, err error) {
	if err := ctx.Err(); err != nil {
		return nil, at, nil, err
	}
	q.swap.RLock()
	defer q.swap.RUnlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		now := time.Now()
		f, at := q.flows.next(now)
		if f == nil {
			return nil, at, q.flows.change, nil
		}
		var taken *delivery
		err := guarded(func() error {
			return q.db.View(func(b *bolt.Tx) error {
				taken = q.takeOf(b, f, now)
				return nil
			})
		})
		if err != nil {
			return nil, at, nil, err
		}
		if taken != nil {
			return taken, at, nil, nil
		}
	}
	return nil, at, nil, webhookqueue.ErrClosed
}

// takeOf takes the first message of a flow, if it is due, and gives the flow its
// next place. A message that cannot be read is put away.
func (q *Queue) takeOf(b *bolt.Tx, f *flow, now time.Time) *delivery {
	key := q.headOf(b, f)
	if key == nil || dueOf(key).After(now) {
		q.placeFlow(b, f, now)
		return nil
	}
	number := numberOf(key)
	q.flows.give(f, number)
	q.placeFlow(b, f, now)
	d, err := readDelivery(b, q, f.name, number)
	if err != nil {
		q.logger.Error("a webhook in the queue cannot be read and is put away", "path", q.path, "number", number, "error", err)
		go func() { _ = q.putAway(f.name, key) }()
		return nil
	}
	return d
}

func readDelivery(b *bolt.Tx, q *Queue, flow string, number uint64) (*delivery, error) {
	key := numberKey(number)
	raw := b.Bucket(bucketMessages).Get(key)
	m, err := webhookqueue.Decode(raw)
	if err != nil {
		return nil, err
	}
	s, err := decodeState(b.Bucket(bucketStates).Get(key))
	if err != nil {
		return nil, err
	}
	if flowOf(m) != flow {
		return nil, fmt.Errorf("%w: it is another's", webhookqueue.ErrCorrupt)
	}
	return &delivery{q: q, number: number, message: m, size: int64(len(raw)) + overhead, state: s}, nil
}

// headOf returns the key of a flow's first message that is not out; nil for none.
func (q *Queue) headOf(b *bolt.Tx, f *flow) []byte {
	c := b.Bucket(bucketDue).Cursor()
	prefix := []byte(f.name)
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if q.flows.out[numberOf(k)] == nil {
			return bytes.Clone(k)
		}
	}
	return nil
}

func (q *Queue) placeFlow(b *bolt.Tx, f *flow, now time.Time) {
	key := q.headOf(b, f)
	if key == nil {
		q.flows.place(f, time.Time{}, false, now)
		return
	}
	q.flows.place(f, dueOf(key), true, now)
}

// refresh gives flows their places after messages have come or gone. It is
// called by the writer, which alone changes db, with the lock held.
func (q *Queue) refresh(touched map[string]bool) {
	if len(touched) == 0 {
		return
	}
	now := time.Now()
	err := guarded(func() error {
		return q.db.View(func(b *bolt.Tx) error {
			for name := range touched {
				q.placeFlow(b, q.flows.get(name), now)
			}
			return nil
		})
	})
	if err != nil {
		q.logger.Error("the queue of webhooks cannot be read", "path", q.path, "error", err)
	}
}

// findFlows gives every flow of the file its place. It is called before the queue
// is used.
func (q *Queue) findFlows(b *bolt.Tx) {
	now := time.Now()
	c := b.Bucket(bucketDue).Cursor()
	for k, _ := c.First(); k != nil; {
		name := flowOfKey(k)
		q.flows.place(q.flows.get(name), dueOf(k), true, now)
		k, _ = c.Seek(append([]byte(name), bytes.Repeat([]byte{0xff}, 17)...))
	}
}
