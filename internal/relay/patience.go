package relay

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends with its parent or at a deadline. Unlike
// that of [context.WithDeadline] it has no timer until somebody waits on it,
// which is hardly ever: most requests find their token at once.
type patience struct {
	context.Context
	deadline time.Time

	arm    sync.Once
	timed  context.Context
	cancel context.CancelFunc
}

func (p *patience) armed() context.Context {
	p.arm.Do(func() { p.timed, p.cancel = context.WithDeadline(p.Context, p.deadline) })
	return p.timed
}

// Deadline returns when the context ends at the latest.
func (p *patience) Deadline() (time.Time, bool) {
	if parent, ok := p.Context.Deadline(); ok && parent.Before(p.deadline) {
		return parent, true
	}
	return p.deadline, true
}

// Done returns a channel that is closed when the context ends.
func (p *patience) Done() <-chan struct{} { return p.armed().Done() }

// Err says why the context has ended, if it has.
func (p *patience) Err() error { return p.armed().Err() }

// end releases the timer, if there is one.
func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
	}
}
