package queuetest_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue/queuetest"
)

// disk is what the smallest queue that is right keeps, over its starts.
type disk struct {
	mu       sync.Mutex
	messages []*kept
	keys     map[webhookqueue.Key]time.Time
	max      int64
	turns    int
}

type kept struct {
	webhookqueue.Message
	entry  webhookqueue.Entry
	number int
	due    time.Time
	turn   int
}

func (m *kept) size() int64 { return int64(len(m.Encode())) }

// memory is that queue. It looks at everything, again and again.
type memory struct {
	*disk
	out    map[*kept]bool
	closed bool
}

// check is called with the lock held.
func (q *memory) check(ctx context.Context) error {
	if q.closed {
		return webhookqueue.ErrClosed
	}
	return ctx.Err()
}

func (q *memory) Put(ctx context.Context, messages []webhookqueue.Message) (r webhookqueue.Receipt, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.check(ctx); err != nil {
		return r, err
	}
	now := time.Now()
	fresh := make(map[webhookqueue.Key]time.Time)
	var add []*kept
	bytes := q.bytes()
	for _, m := range messages {
		m, ok := m.Without(func(k webhookqueue.Key) bool {
			_, twice := fresh[k]
			at, known := q.keys[k]
			fresh[k] = now
			if twice || known && now.Sub(at) <= webhookqueue.Window {
				r.Duplicates++
				return true
			}
			return false
		})
		if !ok {
			continue
		}
		m, _ = webhookqueue.Decode(m.Encode())
		k := &kept{Message: m, due: now}
		bytes += k.size()
		add = append(add, k)
		r.Messages++
		r.Events += len(m.Events)
	}
	if q.max > 0 && bytes > q.max && len(add) > 0 {
		return webhookqueue.Receipt{}, webhookqueue.ErrFull
	}
	for _, m := range add {
		q.turns++
		m.number = q.turns
		m.entry = webhookqueue.Entry{ID: m.ID, App: m.App, Portal: m.Portal, ReceivedAt: m.ReceivedAt, Events: len(m.Events)}
		q.messages = append(q.messages, m)
	}
	for k := range fresh {
		if at, known := q.keys[k]; !known || now.Sub(at) > webhookqueue.Window {
			q.keys[k] = now
		}
	}
	return r, nil
}

func (q *memory) bytes() (n int64) {
	for _, m := range q.messages {
		n += m.size()
	}
	return n
}

func (q *memory) Receive(ctx context.Context) (webhookqueue.Delivery, error) {
	for {
		q.mu.Lock()
		err := q.check(ctx)
		if err == nil {
			if m := q.next(); m != nil {
				q.turns++
				q.out[m] = true
				for _, other := range q.messages {
					if other.App == m.App && other.Portal == m.Portal {
						other.turn = q.turns
					}
				}
				q.mu.Unlock()
				return &delivery{q: q, kept: m, attempt: m.entry.Attempts + 1}, nil
			}
		}
		q.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// next is the message whose portal has waited longest for its turn.
func (q *memory) next() *kept {
	type portal struct {
		app string
		id  int64
	}
	out := make(map[portal]int)
	for m := range q.out {
		out[portal{m.App, m.Portal}]++
	}
	type lane struct {
		portal
		name string
	}
	taken := make(map[lane]bool)
	var best *kept
	for _, m := range q.messages {
		of := lane{portal{m.App, m.Portal}, m.Lane}
		if m.entry.Dead || m.Lane != "" && taken[of] {
			continue
		}
		taken[of] = true
		free := !q.out[m] && !m.due.After(time.Now()) && out[of.portal] < webhookqueue.MaxPerPortal
		if free && (best == nil || m.turn < best.turn) {
			best = m
		}
	}
	return best
}

func (q *memory) List(ctx context.Context, dead bool, after string, limit int) ([]webhookqueue.Entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	var all []webhookqueue.Entry
	for _, m := range q.messages {
		if m.entry.Dead == dead {
			all = append(all, m.entry)
		}
	}
	if after != "" {
		i := slices.IndexFunc(all, func(e webhookqueue.Entry) bool { return e.ID == after })
		if i < 0 {
			return nil, nil
		}
		all = all[i+1:]
	}
	return all[:min(limit, len(all))], nil
}

// settle changes a message that is there; dead says that it has to be dead.
func (q *memory) settle(ctx context.Context, id string, dead bool, change func(m *kept)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.check(ctx); err != nil {
		return err
	}
	i := slices.IndexFunc(q.messages, func(m *kept) bool { return m.ID == id && m.entry.Dead == dead })
	if i < 0 {
		return webhookqueue.ErrNotFound
	}
	delete(q.out, q.messages[i])
	change(q.messages[i])
	q.messages = slices.DeleteFunc(q.messages, func(m *kept) bool { return m.number < 0 })
	slices.SortFunc(q.messages, func(a, b *kept) int { return cmp.Compare(a.number, b.number) })
	return nil
}

func forget(m *kept) { m.number = -1 }

func (q *memory) Retry(ctx context.Context, id string) error {
	return q.settle(ctx, id, true, func(m *kept) {
		m.entry.Dead, m.entry.Attempts = false, 0
		q.turns++
		m.number, m.due = q.turns, time.Now()
	})
}

func (q *memory) Drop(ctx context.Context, id string) error { return q.settle(ctx, id, true, forget) }

func (q *memory) Stats(ctx context.Context) (s webhookqueue.Stats, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		switch {
		case m.entry.Dead:
			s.Dead++
			continue
		case s.Oldest.IsZero() || m.ReceivedAt.Before(s.Oldest):
			s.Oldest = m.ReceivedAt
		}
		s.Waiting++
	}
	s.Bytes, s.MaxBytes = q.bytes(), q.max
	return s, q.check(ctx)
}

func (q *memory) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	return nil
}

type delivery struct {
	q       *memory
	kept    *kept
	attempt int
}

func (d *delivery) Message() webhookqueue.Message { return d.kept.Message }
func (d *delivery) Attempt() int                  { return d.attempt }

func (d *delivery) Done(ctx context.Context) error {
	return d.q.settle(ctx, d.kept.ID, false, forget)
}

func (d *delivery) Return(ctx context.Context) error {
	return d.q.settle(ctx, d.kept.ID, false, func(*kept) {})
}

func (d *delivery) failed(m *kept, status int) {
	m.entry.Attempts, m.entry.LastStatus, m.entry.LastAt = d.attempt, status, time.Now()
}

func (d *delivery) Retry(ctx context.Context, after time.Duration, status int) error {
	return d.q.settle(ctx, d.kept.ID, false, func(m *kept) {
		d.failed(m, status)
		m.due = time.Now().Add(after)
	})
}

func (d *delivery) Bury(ctx context.Context, status int) error {
	return d.q.settle(ctx, d.kept.ID, false, func(m *kept) {
		d.failed(m, status)
		m.entry.Dead = true
	})
}

func fresh(*testing.T) queuetest.Storage {
	d := &disk{keys: make(map[webhookqueue.Key]time.Time)}
	return queuetest.Storage{Open: func(_ *testing.T, maxBytes int64) webhookqueue.Queue {
		d.max = maxBytes
		return &memory{disk: d, out: make(map[*kept]bool)}
	}}
}

// The suite asks for nothing that the contract does not.
func TestSuite(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, queuetest.Suite{Fresh: fresh})
}

func TestSuiteInRealTime(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, queuetest.Suite{Fresh: fresh, RealTime: true})
}
