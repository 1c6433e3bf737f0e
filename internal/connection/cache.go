package connection

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// entry is the place of one connection in memory. Requests only read it, and
// without a lock.
type entry struct {
	user string
	// view is what is known of the connection; nil until it was first read.
	view atomic.Pointer[view]
	// used is the time of the last request in Unix nanoseconds.
	used atomic.Int64
	// due is when the connection wants background work next, in Unix
	// nanoseconds; notDue while that work is queued or under way.
	due atomic.Int64
	// turn is that of the flight's refresh at the token endpoint; nil while it
	// does not wait for one.
	turn atomic.Pointer[turn]
	// callers counts those who wait for the flight.
	callers atomic.Int32

	// mu guards what follows. No request waits for it.
	mu sync.Mutex
	// pending is what the store has yet to take, newest first hand.
	pending *pendingWrite
	// failures counts refreshes in a row that failed for passing reasons,
	// failure is the last of them, and retryAt is when the next may be tried.
	failures int
	failure  error
	retryAt  time.Time
	trouble  trouble
	// refused marks the access token that HubSpot refused although the clock
	// called it valid, ordered the one that an operator wants replaced, and
	// forcedAt is when a refresh was last forced by either. forcing is set
	// while that refresh is under way.
	refused  secret.Mark
	ordered  secret.Mark
	forcedAt time.Time
	forcing  bool

	// copyMu guards what the fallback was given last, and when.
	copyMu   sync.Mutex
	copied   Versioned
	copiedAt time.Time
}

// view is one reading of a connection. It is never changed once stored.
type view struct {
	Versioned
	// missing says that the store has no record.
	missing bool
	// readAt is when the store was asked.
	readAt time.Time
	// refreshAt is the moment from which the access token is to be
	// replaced, made with the number that was drawn for it.
	refreshAt time.Time
	draw      float64
}

// usable reports whether callers can be given the access token.
func (v *view) usable(now time.Time) bool {
	if v == nil || v.missing || v.AccessToken.IsZero() {
		return false
	}
	return now.Before(v.ExpiresAt) || v.Static && v.Status == StatusActive
}

func (v *view) token() Token {
	return Token{Access: v.AccessToken, HubID: v.HubID, ExpiresAt: v.ExpiresAt, Scopes: v.Scopes}
}

// usedResolution keeps the cache line of a busy entry from being written at
// every request.
const usedResolution = time.Second

func (e *entry) touch(now time.Time) {
	n := now.UnixNano()
	if n-e.used.Load() > int64(usedResolution) {
		e.used.Store(n)
	}
}

// usedSince reports whether a request has used the entry after t.
func (e *entry) usedSince(t time.Time) bool {
	return e.used.Load() >= t.UnixNano()
}

// cache holds entries by user. Looking up takes no lock; a sweep makes room
// when it is full.
type cache struct {
	entries sync.Map // of string to *entry
	size    atomic.Int64
	limit   int
	sweepMu sync.Mutex
}

func (c *cache) get(user string) *entry {
	value, ok := c.entries.Load(user)
	if !ok {
		return nil
	}
	return value.(*entry)
}

// getOrAdd returns the entry of user, which is made if there is none.
func (c *cache) getOrAdd(user string) *entry {
	if e := c.get(user); e != nil {
		return e
	}
	fresh := &entry{user: user}
	// Being made is not being used, and almost as recent.
	fresh.used.Store(time.Now().Add(-2 * usedResolution).UnixNano())
	fresh.due.Store(notDue)
	value, loaded := c.entries.LoadOrStore(user, fresh)
	if !loaded && int(c.size.Add(1)) > c.limit {
		c.sweep(user)
	}
	return value.(*entry)
}

// sweep removes the least recently used entries, a hundredth of the limit at
// a time so that its cost is shared by as many additions. Entries with
// unsaved tokens stay, and so does that of keep.
func (c *cache) sweep(keep string) {
	if !c.sweepMu.TryLock() {
		return
	}
	defer c.sweepMu.Unlock()
	type aged struct {
		*entry
		used int64
	}
	all := make([]aged, 0, c.limit+1)
	for _, value := range c.entries.Range {
		e := value.(*entry)
		if e.user != keep && !e.hasPending() {
			all = append(all, aged{e, e.used.Load()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return int(min(max(a.used-b.used, -1), 1)) })
	excess := max(int(c.size.Load())-c.limit, 0) + c.limit/100
	for _, a := range all[:min(excess, len(all))] {
		if c.entries.CompareAndDelete(a.user, a.entry) {
			c.size.Add(-1)
		}
	}
}

// users has those of all entries.
func (c *cache) users() []string {
	var users []string
	for user := range c.entries.Range {
		users = append(users, user.(string))
	}
	return users
}

// all has every entry that has been read.
func (c *cache) all() iter.Seq2[*entry, *view] {
	return func(yield func(*entry, *view) bool) {
		for _, value := range c.entries.Range {
			e := value.(*entry)
			if v := e.view.Load(); v != nil && !yield(e, v) {
				return
			}
		}
	}
}
