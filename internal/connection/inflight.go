package connection

import "sync"

// inflight counts work that is under way. Unlike a [sync.WaitGroup] it may be
// added to while somebody waits. The zero value is ready to use.
type inflight struct {
	mu      sync.Mutex
	count   int
	waiters []chan struct{}
}

// add counts one piece of work and returns what ends it.
func (f *inflight) add() (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.done
}

func (f *inflight) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	if f.count > 0 {
		return
	}
	for _, waiter := range f.waiters {
		close(waiter)
	}
	f.waiters = nil
}

// idle returns a channel that is closed as soon as no work is under way.
func (f *inflight) idle() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiter := make(chan struct{})
	if f.count == 0 {
		close(waiter)
	} else {
		f.waiters = append(f.waiters, waiter)
	}
	return waiter
}
