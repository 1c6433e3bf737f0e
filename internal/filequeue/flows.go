package filequeue

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// flows are the apps and portals of which something waits or is out. Each stands
// at most at one place: in the round of those that have a message to give, or
// among those that have one later. It holds no messages, only who has some.
type flows struct {
	all    map[string]*flow
	round  *list.List
	later  laterHeap
	out    map[uint64]*flow
	change chan struct{}
}

// flow is one app and portal.
type flow struct {
	name string
	// out counts its messages that are out.
	out int
	// inRound and due, with index, are its places.
	inRound *list.Element
	due     time.Time
	index   int
}

func newFlows() flows {
	return flows{
		all: make(map[string]*flow), round: list.New(), out: make(map[uint64]*flow), change: make(chan struct{}),
	}
}

// wake has everybody who waits look again.
func (fs *flows) wake() {
	close(fs.change)
	fs.change = make(chan struct{})
}

// get returns a flow, which is made if there is none.
func (fs *flows) get(name string) *flow {
	f := fs.all[name]
	if f == nil {
		f = &flow{name: name, index: -1}
		fs.all[name] = f
	}
	return f
}

// remove takes a flow from its place.
func (fs *flows) remove(f *flow) {
	if f.inRound != nil {
		fs.round.Remove(f.inRound)
		f.inRound = nil
	}
	if f.index >= 0 {
		heap.Remove(&fs.later, f.index)
	}
}

// place puts a flow where it belongs: due is when it can give its next message,
// and some is false if it has none. One that stands in the round keeps its turn.
func (fs *flows) place(f *flow, due time.Time, some bool, now time.Time) {
	switch {
	case !some || f.out >= webhookqueue.MaxPerPortal:
		fs.remove(f)
		if !some && f.out == 0 {
			delete(fs.all, f.name)
		}
	case due.After(now):
		fs.remove(f)
		f.due = due
		heap.Push(&fs.later, f)
		if f.index == 0 {
			fs.wake()
		}
	case f.inRound == nil:
		fs.remove(f)
		f.inRound = fs.round.PushBack(f)
		fs.wake()
	}
}

// next takes the flow whose turn it is out of the round. Without one it returns
// when there will be, zero for never.
func (fs *flows) next(now time.Time) (f *flow, at time.Time) {
	for len(fs.later) > 0 && !fs.later[0].due.After(now) {
		due := heap.Pop(&fs.later).(*flow)
		due.inRound = fs.round.PushBack(due)
	}
	if first := fs.round.Front(); first != nil {
		f := first.Value.(*flow)
		fs.remove(f)
		return f, time.Time{}
	}
	if len(fs.later) > 0 {
		return nil, fs.later[0].due
	}
	return nil, time.Time{}
}

// give notes that a message is out.
func (fs *flows) give(f *flow, number uint64) {
	f.out++
	fs.out[number] = f
}

// back notes that a message is out no longer.
func (fs *flows) back(number uint64) {
	if f := fs.out[number]; f != nil {
		f.out--
		delete(fs.out, number)
	}
}

// laterHeap has the flow that is due first in front.
type laterHeap []*flow

func (h laterHeap) Len() int           { return len(h) }
func (h laterHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h laterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *laterHeap) Push(x any) {
	f := x.(*flow)
	f.index = len(*h)
	*h = append(*h, f)
}

func (h *laterHeap) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	f.index = -1
	return f
}
