package connection

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// notDue is the due time of an entry for which nothing is planned.
const notDue = math.MaxInt64

// laneWidth bounds the jobs of one lane that run at once, where its owner does
// not say more.
const laneWidth = 16

// The lanes of a schedule. Refreshes wait for the token endpoint's quota;
// in a lane of their own they do not hold up the reading of records.
const (
	laneRead = iota
	laneRefresh
	lanes
)

// job is what the owner of a schedule says of an entry that is due.
type job struct {
	lane int
	// urgency orders the jobs of a lane that are due, the smallest first.
	urgency int64
}

// schedule runs jobs for entries when they are due, a bounded number at once
// and the most urgent first. It has one goroutine; adding to it takes a short
// lock that requests do not need.
type schedule struct {
	classify func(*entry) job
	run      func(*entry)
	// width is how many jobs of a lane may run at once now.
	width func(lane int) int

	mu      sync.Mutex
	planned dueQueue // by due time
	ready   [lanes]dueQueue
	busy    [lanes]int

	wake     chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}
	ended    chan struct{}
}

// newSchedule starts a schedule. run is called on a goroutine of its own for
// each job, classify and width with the schedule's lock held.
func newSchedule(classify func(*entry) job, run func(*entry), width func(lane int) int) *schedule {
	s := &schedule{
		classify: classify,
		run:      run,
		width:    width,
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	go s.loop()
	return s
}

// plan sets the time of the entry's next job; an earlier plan is forgotten.
func (s *schedule) plan(e *entry, at time.Time) {
	n := at.UnixNano()
	e.due.Store(n)
	s.mu.Lock()
	heap.Push(&s.planned, dueItem{at: n, due: n, entry: e})
	first := s.planned[0].entry == e
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
		timer.Reset(s.startDue(time.Now()))
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.stopped:
			return
		}
	}
}

// startDue starts what is due, as far as the lanes have room, and returns how
// long it is until more is due.
func (s *schedule) startDue(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.collect(now)
	for lane := range lanes {
		width := s.width(lane)
		for s.busy[lane] < width && len(s.ready[lane]) > 0 {
			item := heap.Pop(&s.ready[lane]).(dueItem)
			// Planned anew since, if that fails.
			if item.entry.due.CompareAndSwap(item.due, notDue) {
				s.start(item.entry, lane)
			}
		}
	}
	return wait
}

// collect moves what is due into the lanes. The caller holds mu.
func (s *schedule) collect(now time.Time) time.Duration {
	for len(s.planned) > 0 {
		first := s.planned[0]
		if wait := first.at - now.UnixNano(); wait > 0 && first.entry.due.Load() == first.due {
			return time.Duration(wait)
		}
		heap.Pop(&s.planned)
		if first.entry.due.Load() != first.due {
			continue
		}
		j := s.classify(first.entry)
		heap.Push(&s.ready[j.lane], dueItem{at: j.urgency, due: first.due, entry: first.entry})
	}
	return time.Hour
}

// start runs a job. The caller holds mu.
func (s *schedule) start(e *entry, lane int) {
	s.busy[lane]++
	go func() {
		s.run(e)
		s.mu.Lock()
		s.busy[lane]--
		s.mu.Unlock()
		s.signal()
	}()
}

// dueItem is an entry in a queue. It counts only as long as the entry's due
// time is the one that it was queued with.
type dueItem struct {
	at    int64 // what the queue is ordered by
	due   int64
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
