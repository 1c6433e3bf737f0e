// Package journals has what follows the webhooks journals of apps as values of
// the pool, which outlive a reload.
package journals

import (
	"context"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/journal"
)

// Pooled follows the journal of an app for as long as it is in the pool.
type Pooled struct {
	*journal.Watcher
	release func()
}

// New makes a Pooled. It reads nothing before it is started. hold keeps what it
// works with until its end.
func New(c journal.Config, hold func() (release func(), err error)) (*Pooled, error) {
	watcher, err := journal.New(c)
	if err != nil {
		return nil, err
	}
	release, err := hold()
	if err != nil {
		return nil, err
	}
	return &Pooled{Watcher: watcher, release: release}, nil
}

// Destruct stops following, and lets go of what was held after that.
func (p *Pooled) Destruct() error {
	pool.CloseSoon(func(context.Context) {
		p.Close()
		p.release()
	})
	return nil
}

// GoString keeps a pool's panic from printing what is behind it.
func (*Pooled) GoString() string { return "journals.Pooled" }
