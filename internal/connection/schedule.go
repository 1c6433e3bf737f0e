package connection

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// notDue is the due time of an entry for which nothing is planned.
const notDue = math.MaxInt64

// maxBackground bounds the background jobs that run at once.
const maxBackground = 16

// schedule runs jobs for entries at their time, in order, a bounded number
// at once. It has one goroutine; adding to it takes a short lock that
// requests do not need.
type schedule struct {
	run   func(*entry)
	slots chan struct{}

	mu    sync.Mutex
	queue dueQueue
	wake  chan struct{}

	stopOnce sync.Once
	stopped  chan struct{}
	ended    chan struct{}
}

// newSchedule starts a schedule. run is called on a goroutine of its own for
// each job.
func newSchedule(run func(*entry)) *schedule {
	s := &schedule{
		run:     run,
		slots:   make(chan struct{}, maxBackground),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go s.loop()
	return s
}

// plan sets the time of the entry's next job; an earlier plan is forgotten.
func (s *schedule) plan(e *entry, at time.Time) {
	n := at.UnixNano()
	e.due.Store(n)
	s.mu.Lock()
	heap.Push(&s.queue, dueItem{at: n, entry: e})
	first := s.queue[0].entry == e
	s.mu.Unlock()
	if first {
		s.signal()
	}
}

// kick plans the entry's job for now unless it is queued or under way. It is
// called by requests that find the time has come: the loop may have passed
// over the entry while nobody used it.
func (s *schedule) kick(e *entry, due int64, now time.Time) {
	if e.due.CompareAndSwap(due, notDue) {
		s.plan(e, now)
	}
}

func (s *schedule) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// stop ends the loop. Jobs that run go on.
func (s *schedule) stop() {
	s.stopOnce.Do(func() { close(s.stopped) })
	<-s.ended
}

func (s *schedule) loop() {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		e, wait := s.next(time.Now())
		if e != nil {
			if !s.start(e) {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.stopped:
			return
		}
	}
}

// start runs the job of e when a slot is free; false means stopped.
func (s *schedule) start(e *entry) bool {
	select {
	case s.slots <- struct{}{}:
	case <-s.stopped:
		return false
	}
	go func() {
		defer func() { <-s.slots }()
		s.run(e)
	}()
	return true
}

// next takes the first entry that is due, or says how long there is none.
func (s *schedule) next(now time.Time) (*entry, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		first := s.queue[0]
		if first.entry.due.Load() != first.at {
			heap.Pop(&s.queue) // planned anew since
			continue
		}
		if wait := first.at - now.UnixNano(); wait > 0 {
			return nil, time.Duration(wait)
		}
		heap.Pop(&s.queue)
		if first.entry.due.CompareAndSwap(first.at, notDue) {
			return first.entry, 0
		}
	}
	return nil, time.Hour
}

type dueItem struct {
	at    int64
	entry *entry
}

// dueQueue is a heap, the earliest on top.
type dueQueue []dueItem

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements [heap.Interface].
func (q *dueQueue) Push(x any) { *q = append(*q, x.(dueItem)) }

// Pop implements [heap.Interface].
func (q *dueQueue) Pop() any {
	old := *q
	last := len(old) - 1
	item := old[last]
	old[last] = dueItem{}
	*q = old[:last]
	return item
}
