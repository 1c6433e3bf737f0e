package caddymodule

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// tagTimeout bounds how long the log waits for the tags of a frozen user.
const tagTimeout = 5 * time.Second

// pooledFreezes knows what is frozen by a store's list, over config reloads.
type pooledFreezes struct {
	key    poolKey
	keeper *freeze.Keeper
	apps   newest[*App]
	// releaseStore lets the store be closed, and uncount takes the freezes
	// out of the metrics.
	releaseStore, uncount func()
}

// provisionFreezes makes the keeper of the store's freezes or takes the one
// that an earlier config made. It reads nothing yet. The App is complete when
// it is called: it is told what changes from then on.
func (a *App) provisionFreezes() error {
	key := newKeyMaker("freezes").
		add("store", string(a.store.key.sum[:])).
		add("fallback_cache", a.FallbackCache.identity()...).
		key()
	p, release, err := acquire(key, func() (*pooledFreezes, error) { return newPooledFreezes(key, a) })
	if err != nil {
		return err
	}
	a.freezes = p.keeper
	detach := p.apps.attach(a)
	a.releases = append(a.releases, func() { detach(); release() })
	return nil
}

func newPooledFreezes(key poolKey, a *App) (*pooledFreezes, error) {
	p := &pooledFreezes{key: key}
	config := freeze.Config{
		Logger: slog.New(newestHandler{logs: &a.store.logs}),
		Changed: func(added, lifted []freeze.Freeze) {
			if app, ok := p.apps.get(); ok {
				app.freezesChanged(added, lifted)
			}
		},
	}
	if documents, ok := a.store.store.(DocumentStore); ok {
		config.Store = &measuredDocuments{DocumentStore: documents, name: a.store.name, metrics: a.metrics}
	}
	if a.FallbackCache != nil {
		copies, err := a.FallbackCache.open()
		if err != nil {
			return nil, err
		}
		config.Copies = copies
	}
	var err error
	if p.releaseStore, err = a.store.hold(); err != nil {
		return nil, err
	}
	p.keeper = freeze.New(config)
	p.uncount = a.metrics.freezes.add(p.keeper)
	return p, nil
}

// Destruct stops to look at the list, and lets the store be closed after
// that. Requests that still run go by the last one.
func (p *pooledFreezes) Destruct() error {
	p.uncount()
	closeSoon(func(context.Context) {
		p.keeper.Close()
		p.releaseStore()
	})
	return nil
}

// GoString keeps a pool's panic from printing what is frozen.
func (p *pooledFreezes) GoString() string { return "pooledFreezes(" + p.key.String() + ")" }
