package natsqueue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leases are the partitions that this sidecar owns, and what it knows of the
// others'. No clocks of several machines are compared: what has not been written
// for the length of a lease, on this machine's clock, may have ended, and the
// server, which forgets it after that time, has the last word.
type leases struct {
	s    *session
	kick chan struct{} // there may be something to do
	own  map[int]*lease

	mu    sync.Mutex
	known map[string]claim // what the bucket holds, by key
}

// lease is one of ours.
type lease struct {
	revision uint64
	until    time.Time // it holds, by our clock
	end      context.CancelFunc
	loads    sync.WaitGroup
	leaves   bool
}

// claim is an entry of the bucket.
type claim struct {
	value    string
	revision uint64
	seen     time.Time
}

func newLeases(s *session) *leases {
	return &leases{s: s, kick: make(chan struct{}, 1), own: make(map[int]*lease), known: make(map[string]claim)}
}

// nudge has the leases looked at.
func (l *leases) nudge() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// watch reads who owns what, and follows it.
func (l *leases) watch() error {
	ctx, cancel := context.WithTimeout(l.s.ctx, setupTimeout)
	defer cancel()
	return l.s.watch(ctx, l.s.owners, func(e jetstream.KeyValueEntry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.Operation() == jetstream.KeyValuePut {
			before, was := l.known[e.Key()]
			l.known[e.Key()] = claim{value: string(e.Value()), revision: e.Revision(), seen: time.Now()}
			if was && before.value == string(e.Value()) {
				return // renewed
			}
		} else {
			delete(l.known, e.Key())
		}
		l.nudge()
	})
}

// run holds leases until the session ends.
func (l *leases) run() error {
	settled := l.s.q.index.settled
	ticker := time.NewTicker(l.s.q.lease / 4)
	defer ticker.Stop()
	for renew := true; ; {
		if renew {
			if err := l.renew(); err != nil {
				return err
			}
		}
		l.balance()
		select {
		case <-l.s.ctx.Done():
			return context.Cause(l.s.ctx)
		case <-ticker.C:
			renew = true
		case <-l.kick:
			renew = false
		case <-settled:
			renew = false
		}
	}
}

// end gives up what is owned: in the bucket only where the queue was closed, so
// that another session goes on with it.
func (l *leases) end() {
	q := l.s.q
	closed := q.ctx.Err() != nil && !q.killed
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx), readyWait)
	defer cancel()
	for p := range l.own {
		l.drop(p, ctx, closed && l.s.conn.IsConnected())
	}
	if closed && l.s.conn.IsConnected() {
		_ = l.s.owners.Delete(ctx, memberPrefix+q.instance)
	}
}

// renew says that this sidecar is there, and prolongs its leases.
func (l *leases) renew() error {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.q.lease/2)
	defer cancel()
	if _, err := l.s.owners.PutString(ctx, memberPrefix+l.s.q.instance, ""); err != nil {
		return fmt.Errorf("renewing leases: %w", err)
	}
	type renewed struct {
		began    time.Time
		revision uint64
		err      error
	}
	results := make([]renewed, partitions)
	each(maps.Keys(l.own), func(p int) {
		r := &results[p]
		r.began = time.Now()
		r.revision, r.err = l.s.owners.Update(ctx, leaseKey(p), []byte(l.s.q.instance), l.own[p].revision)
	})
	for p, lease := range l.own {
		switch r := results[p]; {
		case r.err == nil:
			lease.revision = r.revision
			l.hold(p, r.began)
		case errors.Is(r.err, jetstream.ErrKeyExists), time.Now().After(lease.until):
			// Somebody else has it, or may have it by now.
			l.drop(p, ctx, false)
		}
	}
	return nil
}

// each calls f for all partitions at once.
func each(partitions iter.Seq[int], f func(p int)) {
	var work sync.WaitGroup
	for p := range partitions {
		work.Go(func() { f(p) })
	}
	work.Wait()
}

// hold says that a lease was written at a time.
func (l *leases) hold(p int, at time.Time) {
	// A part of it is for what is under way when it ends.
	l.own[p].until = at.Add(l.s.q.lease * 4 / 5)
	l.s.q.index.extend(p, l.own[p].until)
}

// balance takes what falls to this sidecar, and gives back what falls to another.
func (l *leases) balance() {
	owners := share(l.members())
	var free []int
	for p := range partitions {
		mine := owners[p] == l.s.q.instance
		lease := l.own[p]
		switch {
		case mine && lease == nil:
			free = append(free, p)
		case mine && lease.leaves:
			lease.leaves = false
			l.s.q.index.stay(p)
		case !mine && lease != nil:
			lease.leaves = true
			if !l.s.q.index.leave(p) {
				l.drop(p, l.s.ctx, true)
			}
		}
	}
	l.take(free)
}

// members returns the sidecars that are there, this one among them.
func (l *leases) members() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	members := []string{l.s.q.instance}
	for key, c := range l.known {
		name, ok := strings.CutPrefix(key, memberPrefix)
		if ok && name != l.s.q.instance && time.Since(c.seen) < l.s.q.lease {
			members = append(members, name)
		}
	}
	return members
}

// take takes those of the partitions that nobody has.
func (l *leases) take(free []int) {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.q.lease/2)
	defer cancel()
	began := time.Now()
	revisions := make([]uint64, partitions)
	each(slices.Values(free), func(p int) { revisions[p] = l.claim(ctx, p) })
	for _, p := range free {
		if revisions[p] == 0 {
			continue // at the next tick again
		}
		loading, end := context.WithCancel(l.s.ctx)
		lease := &lease{revision: revisions[p], end: end}
		l.own[p] = lease
		l.s.q.index.own(p)
		l.hold(p, began)
		lease.loads.Go(func() {
			if err := l.s.follow(loading, p); err != nil && loading.Err() == nil {
				l.s.cancel(err)
			}
		})
	}
}

// claim writes a lease, and returns its revision, 0 if somebody else has it.
func (l *leases) claim(ctx context.Context, p int) uint64 {
	q := l.s.q
	l.mu.Lock()
	c, known := l.known[leaseKey(p)]
	l.mu.Unlock()
	ours := known && c.value == q.instance
	if known && !ours && time.Since(c.seen) < q.lease {
		return 0
	}
	revision, err := l.s.owners.Create(ctx, leaseKey(p), []byte(q.instance))
	if err != nil && ours {
		// Of a session before this one.
		revision, err = l.s.owners.Update(ctx, leaseKey(p), []byte(q.instance), c.revision)
	}
	if err != nil {
		return 0
	}
	return revision
}

// drop forgets a partition, and gives the lease back if it is ours to give.
func (l *leases) drop(p int, ctx context.Context, release bool) {
	lease := l.own[p]
	lease.end()
	lease.loads.Wait()
	l.s.q.index.disown(p)
	delete(l.own, p)
	if release {
		_ = l.s.owners.Delete(ctx, leaseKey(p), jetstream.LastRevision(lease.revision))
	}
}
