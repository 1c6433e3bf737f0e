package quota

import (
	"cmp"
	"math"
	"slices"
)

// line holds all who wait for one limit of a portal. Callers are served in
// turn, each as often as its weight says: self-clocked fair queueing (S. J.
// Golestani, INFOCOM 1994). Within a caller its user tokens are served in turn,
// and within each of these the lanes. Nobody is remembered who does not wait.
type line struct {
	callers []*party
	// clock is the finish of the request that was served last.
	clock float64
	// n is how many wait in each lane.
	n [lanes]int
}

// party is a caller of whom requests wait.
type party struct {
	name   string
	weight float64
	// finish is when, on the line's clock, its next request is served.
	finish float64
	// askers are served in turn, the first one next.
	askers  []*asker
	byToken map[string]*asker
	n       int
}

// asker is a user token of a caller, or a caller without one, of whom requests
// wait.
type asker struct {
	party  *party
	token  string
	queues [lanes]queue
	credit credit
}

// credit counts requests let go since batch work had its turn.
type credit int

func (c *credit) took(lane Lane) {
	if lane == Batch {
		*c = 0
	} else if *c < batchTurn {
		*c++
	}
}

// spent reports whether it is the turn of batch work.
func (c credit) spent() bool { return c >= batchTurn-1 }

func (l *line) empty() bool { return len(l.callers) == 0 }

func (l *line) party(name string) *party {
	for _, p := range l.callers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// find returns who asks for r, or nil if nothing of theirs waits.
func (l *line) find(r *Request) *asker {
	if p := l.party(r.Caller); p != nil {
		return p.byToken[r.Token]
	}
	return nil
}

// push has w wait for r. Who is new begins with a credit.
func (l *line) push(r *Request, w *waiter, c credit) {
	p := l.party(r.Caller)
	if p == nil {
		p = &party{name: r.Caller, finish: l.clock + 1/r.weight(), byToken: make(map[string]*asker)}
		l.callers = append(l.callers, p)
	}
	p.weight = r.weight()
	a := p.byToken[r.Token]
	if a == nil {
		a = &asker{party: p, token: r.Token, credit: c}
		p.byToken[r.Token] = a
		p.askers = append(p.askers, a)
	}
	a.queues[w.lane].push(w, w.again > 0)
	w.asker = a
	p.n++
	l.n[w.lane]++
}

// next is the waiter whose turn it is; nil if nobody waits.
func (l *line) next() *waiter {
	if l.empty() {
		return nil
	}
	a := l.first().askers[0]
	if a.queues[Interactive].n == 0 || a.queues[Batch].n > 0 && a.credit.spent() {
		return a.queues[Batch].head
	}
	return a.queues[Interactive].head
}

// first is the caller whose turn it is: among equals, the one that came first.
func (l *line) first() *party { return slices.MinFunc(l.callers, byFinish) }

func byFinish(a, b *party) int { return cmp.Compare(a.finish, b.finish) }

// serve takes out w, whose turn it is, and goes on to the next.
func (l *line) serve(w *waiter) {
	a := w.asker
	p := a.party
	l.clock = p.finish
	p.finish += 1 / p.weight
	if len(p.askers) > 1 {
		p.askers = append(p.askers[1:], a)
	}
	l.remove(w)
}

// remove takes out a waiter.
func (l *line) remove(w *waiter) {
	a := w.asker
	p := a.party
	a.queues[w.lane].remove(w)
	w.asker = nil
	p.n--
	l.n[w.lane]--
	if a.queues[Interactive].n+a.queues[Batch].n == 0 {
		delete(p.byToken, a.token)
		p.askers = slices.DeleteFunc(p.askers, func(other *asker) bool { return other == a })
	}
	if p.n == 0 {
		l.callers = slices.DeleteFunc(l.callers, func(other *party) bool { return other == p })
	}
	if l.empty() {
		l.clock = 0
	}
}

// ahead is about how many requests would go before r.
func (l *line) ahead(r *Request) int {
	p := l.party(r.Caller)
	n, finish := 0, l.clock+1/r.weight()
	if p != nil {
		a := p.byToken[r.Token]
		own := a.ahead(r)
		for _, other := range p.askers {
			if other != a {
				n += min(other.queues[Interactive].n+other.queues[Batch].n, own+1)
			}
		}
		n += own
		finish = p.finish + float64(n)/p.weight
	}
	for _, other := range l.callers {
		if turns := math.Floor((finish-other.finish)*other.weight) + 1; other != p && turns > 0 {
			n += min(other.n, int(turns))
		}
	}
	return n
}

// ahead is about how many of its own requests would go before r.
func (a *asker) ahead(r *Request) int {
	if a == nil {
		return 0
	}
	interactive, batch := a.queues[Interactive].n, a.queues[Batch].n
	switch {
	case r.Lane == Batch && r.Again > 0:
		return min(interactive, batchTurn-1)
	case r.Lane == Batch:
		return min(batch*batchTurn, batch+interactive)
	case r.Again > 0:
		return 0
	}
	return interactive + min(batch, interactive/(batchTurn-1))
}

// order returns those who are served next, up to so many, in about this order:
// that batch work has its turns is left out.
func (l *line) order(most int) []*waiter {
	if len(l.callers) == 1 {
		return l.callers[0].order(most)
	}
	type turn struct {
		finish float64
		w      *waiter
	}
	var turns []turn
	for _, p := range l.callers {
		for i, w := range p.order(most) {
			turns = append(turns, turn{p.finish + float64(i)/p.weight, w})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.finish, b.finish) })
	order := make([]*waiter, min(len(turns), most))
	for i := range order {
		order[i] = turns[i].w
	}
	return order
}

func (p *party) order(most int) []*waiter {
	order := make([]*waiter, 0, min(p.n, most))
	round := make([]*waiter, 0, len(p.askers))
	for _, a := range p.askers {
		round = append(round, a.head())
	}
	for len(order) < cap(order) {
		for i, w := range round {
			if w != nil && len(order) < cap(order) {
				order = append(order, w)
				round[i] = w.following()
			}
		}
	}
	return order
}

func (a *asker) head() *waiter {
	if w := a.queues[Interactive].head; w != nil {
		return w
	}
	return a.queues[Batch].head
}

// following is the one behind w, of its asker.
func (w *waiter) following() *waiter {
	if w.next == nil && w.lane == Interactive {
		return w.asker.queues[Batch].head
	}
	return w.next
}
