package connection

import (
	"container/list"
	"sync"
	"time"
)

const (
	// budgetStart is how many calls a second the token endpoint gets at first
	// where no quota is set, and budgetTop how many at the most: HubSpot does
	// not publish what it takes.
	budgetStart = 10
	budgetTop   = 100
	// budgetGrowth is the part of the first rate by which a budget grows in a
	// second.
	budgetGrowth = 0.01
	// budgetFloor is the part of the first rate that always remains.
	budgetFloor = 1.0 / 64
	// budgetHold is how long a Retry-After of one refresh holds up all: after
	// that another one asks.
	budgetHold = time.Minute
)

// budget is what the token endpoint may be asked, all connections of an app
// together: evenly, without bursts, those first that callers wait for. A 429
// halves it. It grows back by the clock, and beyond where it began while
// refreshes wait for it and no 429 comes. It is safe for concurrent use.
type budget struct {
	// start, top and floor are calls a second, as rate is.
	start, top, floor float64

	mu   sync.Mutex
	rate float64
	// grownAt is until when the growth by the clock is in rate.
	grownAt time.Time
	// shrunkAt is when rate was last halved; calls that had begun before say
	// nothing about what is asked since.
	shrunkAt time.Time
	// next is when the next turn may be given.
	next time.Time
	// urgent has the turns that callers wait for, idle the others.
	urgent, idle lane
	timer        *time.Timer
}

// lane is a queue of turns.
type lane struct {
	turns list.List
	// joined and left count those that ever did.
	joined, left uint64
}

// turn is a place in the queue for the token endpoint.
type turn struct {
	entry *entry
	// given is closed when the turn has come.
	given chan struct{}

	// The lock of the budget guards what follows. place is nil outside of the
	// queue.
	lane   *lane
	place  *list.Element
	number uint64
}

// newBudget makes the budget for a quota of count calls in per, which is never
// exceeded, or, where count is 0, one that finds out what can be asked.
func newBudget(count int, per time.Duration) *budget {
	b := &budget{start: budgetStart, top: budgetTop}
	if count > 0 {
		b.start = float64(count) / per.Seconds()
		b.top = b.start
	}
	b.floor, b.rate = b.start*budgetFloor, b.start
	b.timer = time.AfterFunc(time.Hour, b.dispatch)
	b.timer.Stop()
	return b
}

// interval is the time between two turns. The caller holds mu.
func (b *budget) interval() time.Duration {
	return time.Duration(float64(time.Second) / b.rate)
}

// queue asks for a turn of e's flight.
func (b *budget) queue(e *entry) *turn {
	t := &turn{entry: e, given: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	// Stored first: a caller that comes now finds either the turn, or is found.
	e.turn.Store(t)
	if e.callers.Load() > 0 {
		b.urgent.push(t)
	} else {
		b.idle.push(t)
	}
	b.give(time.Now())
	return t
}

// leave gives a turn back that has not come.
func (b *budget) leave(t *turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.remove()
}

// hurry puts the turn of e's flight, if it waits for one, among those that
// callers wait for.
func (b *budget) hurry(e *entry) {
	t := e.turn.Load()
	if t == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.lane == &b.idle {
		t.remove()
		b.urgent.push(t)
	}
}

func (b *budget) dispatch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give(time.Now())
}

// give gives the turns that have come. The caller holds mu.
func (b *budget) give(now time.Time) {
	b.grow(now)
	for {
		t := b.first()
		if t == nil {
			return
		}
		if wait := b.next.Sub(now); wait > 0 {
			b.timer.Reset(wait)
			return
		}
		t.remove()
		interval := b.interval()
		if now.Sub(b.next) > interval {
			b.next = now // turns that nobody took are not made up for
		}
		b.next = b.next.Add(interval)
		close(t.given)
	}
}

// first is the turn that comes next, nil if nobody waits. Flights whose callers
// have all left go behind.
func (b *budget) first() *turn {
	for front := b.urgent.turns.Front(); front != nil; front = b.urgent.turns.Front() {
		t := front.Value.(*turn)
		if t.entry.callers.Load() > 0 {
			return t
		}
		t.remove()
		b.idle.push(t)
	}
	if front := b.idle.turns.Front(); front != nil {
		return front.Value.(*turn)
	}
	return nil
}

// grow adds what a smaller budget has got back since it was last looked at.
// The caller holds mu.
func (b *budget) grow(now time.Time) {
	if b.rate < b.start && now.After(b.grownAt) {
		b.rate = min(b.rate+b.start*budgetGrowth*now.Sub(b.grownAt).Seconds(), b.start)
	}
	b.grownAt = now
}

// answered notes what the endpoint said to a call that began at begun:
// limited is whether it was a 429, and retryAfter the wait that it asked for.
func (b *budget) answered(begun time.Time, limited bool, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.grow(now)
	switch {
	case limited:
		b.shrink(begun, now, min(retryAfter, budgetHold))
	case b.first() != nil && begun.After(b.shrunkAt):
		// So much for each call is budgetGrowth for a second of them.
		b.rate = max(b.rate, min(b.rate+b.start*budgetGrowth/b.rate, b.top))
	}
}

func (b *budget) shrink(begun, now time.Time, hold time.Duration) {
	if !begun.Before(b.shrunkAt) {
		b.rate = max(b.rate/2, b.floor)
		b.shrunkAt = now
		hold = max(hold, b.interval())
	}
	if until := now.Add(hold); until.After(b.next) {
		b.next = until
	}
}

// wait estimates how long it is until a turn that is asked for now would come,
// or, unless t is nil, until t comes.
func (b *budget) wait(t *turn) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.urgent.turns.Len()
	switch {
	case t == nil:
	case t.lane == nil:
		return 0
	case t.lane == &b.urgent:
		before = t.before()
	default:
		before += t.before()
	}
	return max(time.Until(b.next), 0) + time.Duration(before)*b.interval()
}

func (l *lane) push(t *turn) {
	l.joined++
	t.lane, t.number = l, l.joined
	t.place = l.turns.PushBack(t)
}

func (t *turn) remove() {
	if t.lane == nil {
		return
	}
	t.lane.turns.Remove(t.place)
	t.lane.left++
	t.lane, t.place = nil, nil
}

// before is how many turns of the lane come before t, about: some that came
// later may have left earlier.
func (t *turn) before() int {
	return max(int(t.number-t.lane.left)-1, 0)
}

// RefreshBudget is how much an app's token endpoint is asked; see
// [Manager.RefreshBudget].
type RefreshBudget struct {
	// PerSecond is how many calls a second there may be now, and Ceiling how
	// many there can be at the most.
	PerSecond, Ceiling float64
	// Waiting are the refreshes that wait for their turn, those that callers
	// wait for among them.
	Waiting int
	// HeldUntil is the time until which HubSpot asked to be left alone, or
	// zero if that is over.
	HeldUntil time.Time
}

// RefreshBudget returns what this process may ask of the token endpoint now.
func (m *Manager) RefreshBudget() RefreshBudget {
	b := m.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.grow(now)
	report := RefreshBudget{PerSecond: b.rate, Ceiling: b.top, Waiting: b.urgent.turns.Len() + b.idle.turns.Len()}
	if b.next.Sub(now) > b.interval() {
		report.HeldUntil = b.next
	}
	return report
}

// perSecond is how many calls a second there may be now.
func (b *budget) perSecond() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grow(time.Now())
	return b.rate
}
