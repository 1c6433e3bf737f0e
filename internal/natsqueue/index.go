package natsqueue

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// index knows the messages of the partitions that are owned, and says which is
// next. Its methods are safe for concurrent use.
type index struct {
	mu      sync.Mutex
	changed chan struct{} // closed when there may be something to hand out
	parts   [partitions]part
	byID    map[string]*entry
	// out are the messages that are handed out, whether or not their partition
	// is still owned.
	out      map[string]bool
	rotation []*portal     // those whose turn comes, the next first
	delayed  entries       // those that are not due
	settled  chan struct{} // something is no longer out
}

// part is a partition.
type part struct {
	portals map[portalKey]*portal // nil while it is not owned
	loaded  bool                  // all that was there is in the index
	until   time.Time             // the lease holds
	leaves  bool                  // nothing more is handed out
}

func (p *part) runs(now time.Time) bool { return p.loaded && !p.leaves && now.Before(p.until) }

type portalKey struct {
	app string
	id  int64
}

type portal struct {
	part    *part
	lanes   map[string]*lane
	ready   entries
	out     int
	rotates bool // it is in rotation
	gone    bool
}

type lane struct {
	queue []*entry // in order, the one that is out included
	out   *entry
}

// entries is a heap.
type entries struct {
	list []*entry
	less func(a, b *entry) bool
}

func (h *entries) Len() int           { return len(h.list) }
func (h *entries) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *entries) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *entries) Push(e any)         { h.list = append(h.list, e.(*entry)) }
func (h *entries) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return e
}

func newIndex() *index {
	return &index{
		changed: make(chan struct{}), byID: make(map[string]*entry), out: make(map[string]bool),
		settled: make(chan struct{}, 1),
		delayed: entries{less: func(a, b *entry) bool { return a.state.Due.Before(b.state.Due) }},
	}
}

// wake is called with the lock held.
func (x *index) wake() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// own begins with a partition, of which nothing is handed out until it is loaded.
func (x *index) own(p int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[p] = part{portals: make(map[portalKey]*portal)}
}

// extend says until when a lease holds.
func (x *index) extend(p int, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	part := &x.parts[p]
	lapsed := !part.runs(time.Now())
	part.until = until
	if lapsed {
		x.rotateAll(part)
	}
}

// setLoaded says that all messages of a partition are there.
func (x *index) setLoaded(p int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[p].loaded = true
	x.rotateAll(&x.parts[p])
}

func (x *index) rotateAll(part *part) {
	for _, portal := range part.portals {
		x.rotate(portal)
	}
}

// leave has nothing more of a partition handed out, and reports whether anything
// of it is out.
func (x *index) leave(p int) (busy bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[p].leaves = true
	for _, portal := range x.parts[p].portals {
		busy = busy || portal.out > 0
	}
	return busy
}

// stay takes leave back.
func (x *index) stay(p int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[p].leaves = false
	x.rotateAll(&x.parts[p])
}

// disown forgets a partition.
func (x *index) disown(p int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, portal := range x.parts[p].portals {
		portal.gone = true
	}
	for id, e := range x.byID {
		if e.partition() == p {
			e.gone = true
			delete(x.byID, id)
		}
	}
	x.parts[p] = part{}
}

// owns reports whether the lease on a partition holds.
func (x *index) owns(p int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.parts[p].portals != nil && time.Now().Before(x.parts[p].until)
}

// add takes a message into the index, if its partition is owned and it is not
// there.
func (x *index) add(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	part := &x.parts[e.partition()]
	if part.portals == nil || x.byID[e.ID] != nil {
		return
	}
	x.byID[e.ID] = e
	of := portalKey{e.App, e.Portal}
	o := part.portals[of]
	if o == nil {
		o = &portal{part: part, lanes: make(map[string]*lane), ready: entries{less: (*entry).before}}
		part.portals[of] = o
	}
	e.out = x.out[e.ID]
	if e.out {
		o.out++
	}
	if e.Lane != "" {
		l := o.lanes[e.Lane]
		if l == nil {
			l = new(lane)
			o.lanes[e.Lane] = l
		}
		at, _ := slices.BinarySearchFunc(l.queue, e, func(in, e *entry) int {
			if in.before(e) {
				return -1
			}
			return 1
		})
		l.queue = slices.Insert(l.queue, at, e)
		if e.out {
			l.out = e
		}
	}
	x.schedule(o, e)
}

// has reports whether a message is in the index.
func (x *index) has(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.byID[id] != nil
}

// schedule has a message come when it is due, if it is its turn.
func (x *index) schedule(o *portal, e *entry) {
	if e.queued || e.gone || !o.eligible(e) {
		return
	}
	e.queued = true
	if e.state.Due.After(time.Now()) {
		heap.Push(&x.delayed, e)
		x.wake() // whoever waits may wait for a later one
		return
	}
	heap.Push(&o.ready, e)
	x.rotate(o)
}

// eligible reports whether a message is the next of its lane, and not out.
func (o *portal) eligible(e *entry) bool {
	if e.Lane == "" {
		return !e.out
	}
	l := o.lanes[e.Lane]
	return l != nil && l.out == nil && l.queue[0] == e
}

// rotate gives a portal a turn.
func (x *index) rotate(o *portal) {
	if o.rotates || o.gone || o.ready.Len() == 0 || o.out >= webhookqueue.MaxPerPortal || !o.part.runs(time.Now()) {
		return
	}
	o.rotates = true
	x.rotation = append(x.rotation, o)
	x.wake()
}

// next hands out a message, and returns it as it is. If there is none, changed is
// closed when there may be, and look says when to look again anyway, if it is not
// zero.
func (x *index) next() (e entry, ok bool, look time.Time, changed <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for x.delayed.Len() > 0 && !x.delayed.list[0].state.Due.After(now) {
		e := heap.Pop(&x.delayed).(*entry)
		e.queued = false
		if o := x.portalOf(e); o != nil {
			x.schedule(o, e)
		}
	}
	for len(x.rotation) > 0 {
		o := x.rotation[0]
		x.rotation[0] = nil
		x.rotation = x.rotation[1:]
		o.rotates = false
		if o.gone || !o.part.runs(now) || o.out >= webhookqueue.MaxPerPortal {
			continue
		}
		if e := x.take(o); e != nil {
			x.rotate(o)
			return *e, true, time.Time{}, nil
		}
	}
	if x.delayed.Len() > 0 {
		look = x.delayed.list[0].state.Due
	}
	return entry{}, false, look, x.changed
}

// take takes the next message of a portal.
func (x *index) take(o *portal) *entry {
	for o.ready.Len() > 0 {
		e := heap.Pop(&o.ready).(*entry)
		e.queued = false
		if e.gone || !o.eligible(e) {
			continue
		}
		e.out = true
		x.out[e.ID] = true
		o.out++
		if e.Lane != "" {
			o.lanes[e.Lane].out = e
		}
		return e
	}
	return nil
}

// portalOf returns the portal of a message that is in the index.
func (x *index) portalOf(e *entry) *portal {
	if e.gone {
		return nil
	}
	return x.parts[e.partition()].portals[portalKey{e.App, e.Portal}]
}

// settle is called with the lock held.
func (x *index) settle(id string) {
	delete(x.out, id)
	select {
	case x.settled <- struct{}{}:
	default:
	}
}

// again has a message that is out come again, in that state.
func (x *index) again(id string, change func(*state)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(id)
	e := x.byID[id]
	if e == nil {
		return
	}
	o := x.portalOf(e)
	x.takeBack(o, e)
	if change != nil {
		change(&e.state)
	}
	if l := o.lanes[e.Lane]; e.Lane != "" {
		e = l.queue[0]
	}
	x.schedule(o, e)
	x.rotate(o)
}

// takeBack is called with the lock held.
func (x *index) takeBack(o *portal, e *entry) {
	if !e.out {
		return
	}
	e.out = false
	o.out--
	if e.Lane != "" {
		o.lanes[e.Lane].out = nil
	}
}

// remove forgets a message, and the next of its lane may come.
func (x *index) remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(id)
	e := x.byID[id]
	if e == nil {
		return
	}
	o := x.portalOf(e)
	x.takeBack(o, e)
	delete(x.byID, id)
	e.gone = true
	if l := o.lanes[e.Lane]; e.Lane != "" {
		if i := slices.Index(l.queue, e); i >= 0 {
			l.queue = slices.Delete(l.queue, i, i+1)
		}
		if len(l.queue) == 0 {
			delete(o.lanes, e.Lane)
		} else {
			x.schedule(o, l.queue[0])
		}
	}
	x.rotate(o)
}
