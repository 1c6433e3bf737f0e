package sidecar

import (
	"context"
	"log/slog"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// scopeUseSettings is everything that shapes what learns of scopes; its key is
// made of it.
type scopeUseSettings struct {
	Store pool.Key
}

// pooledScopeUse learns which scopes the apps of a store need, over config
// reloads.
type pooledScopeUse struct {
	key    pool.Key
	keeper *scopeuse.Keeper
	// releaseStore lets the store be closed.
	releaseStore func()
}

// provisionScopeUse makes what learns for the store or takes what an earlier
// config made. It reads nothing yet.
func (g *Generation) provisionScopeUse() error {
	key := pool.KeyOf("scopeuse", scopeUseSettings{Store: g.store.key})
	p, err := acquire(&g.releases, key, func() (*pooledScopeUse, error) { return g.newPooledScopeUse(key) })
	if err != nil {
		return err
	}
	g.scopeUse = p.keeper
	return nil
}

func (g *Generation) newPooledScopeUse(key pool.Key) (*pooledScopeUse, error) {
	p := &pooledScopeUse{key: key}
	config := scopeuse.Config{Logger: slog.New(pool.Handler(&g.store.logs))}
	if documents, ok := g.store.store.(connection.DocumentStore); ok {
		config.Store = g.car.metrics.MeasureDocuments(g.store.name, documents)
	}
	var err error
	if p.releaseStore, err = g.store.hold(); err != nil {
		return nil, err
	}
	p.keeper = scopeuse.New(config)
	return p, nil
}

// Destruct writes what the store lacks, and lets it be closed after that.
func (p *pooledScopeUse) Destruct() error {
	pool.CloseSoon(func(ctx context.Context) {
		p.keeper.Close(ctx)
		p.releaseStore()
	})
	return nil
}

// GoString keeps a pool's panic from printing what was learnt.
func (p *pooledScopeUse) GoString() string { return "pooledScopeUse(" + p.key.String() + ")" }
