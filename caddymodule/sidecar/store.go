package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/storeapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/movestore"
)

// storeSettings is everything that shapes a store; its key is made of it.
type storeSettings struct {
	Module   string
	Settings any
	// FromModule and FromSettings are those of migrate_from; empty without.
	FromModule   string
	FromSettings any
}

// pooledStore is an open store and what it uses of the newest config.
type pooledStore struct {
	key   pool.Key
	name  string
	store connection.Store
	// own is the configured store, and from the one of migrate_from, nil
	// without. store is both as one then, and mover empties from.
	own, from connection.Store
	mover     *movestore.Mover
	storage   pool.Newest[certmagic.Storage]
	logs      pool.Newest[slog.Handler]
}

// provisionStore opens the configured store or takes the one that is open.
// before is the generation that this one is to follow, nil for none.
func (g *Generation) provisionStore(before *Generation) error {
	module, err := g.loadStore()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	name := module.CaddyModule().ID.Name()
	shape := storeSettings{Module: name, Settings: module.StoreSettings()}
	from, err := g.loadMigrateFrom(&shape)
	if err != nil {
		return fmt.Errorf("migrate_from: %w", err)
	}
	key := pool.KeyOf("store", shape)
	if err := g.checkStored(module, key, before); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	store, err := acquire(&g.releases, key, func() (*pooledStore, error) {
		p := &pooledStore{key: key, name: name}
		// OpenStore may log; the host has to work from the start.
		detach := p.attach(g.car)
		defer detach()
		if err := p.open(module, from); err != nil {
			return nil, err
		}
		return p, nil
	})
	if err != nil {
		return err
	}
	g.store = store
	g.releases = append(g.releases, store.attach(g.car))
	return nil
}

// loadStore loads the module of the store, which lives as long as the
// generation.
func (g *Generation) loadStore() (storeapi.Module, error) {
	if err := g.files.noteInJSON(g.car.StoreRaw); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(g.car.ctx)
	g.releases = append(g.releases, sync.OnceFunc(cancel))
	var value any
	var err error
	// Caddy takes away what it has loaded.
	if settings := (Sidecar{StoreRaw: slices.Clone(g.car.StoreRaw)}); settings.StoreRaw == nil {
		value, err = ctx.LoadModuleByID("hubspot.stores.caddy", nil)
	} else {
		value, err = ctx.LoadModule(&settings, "StoreRaw")
	}
	if err != nil {
		return nil, err
	}
	module, ok := value.(storeapi.Module)
	if !ok {
		return nil, fmt.Errorf("module %T is not a store of connections", value)
	}
	return module, nil
}

// open opens the store, and that of migrate_from, which is nil without.
func (p *pooledStore) open(module, from storeapi.Module) (err error) {
	host := storeapi.Host{Storage: pool.Storage(&p.storage), Logger: slog.New(pool.Handler(&p.logs))}
	if p.own, err = module.OpenStore(host); err != nil {
		return fmt.Errorf("opening store %s: %w", p.name, err)
	}
	p.store = p.own
	if from == nil {
		return nil
	}
	if p.from, err = from.OpenStore(host); err != nil {
		closeStore(p.own)
		return fmt.Errorf("opening the store of migrate_from: %w", err)
	}
	p.store = movestore.New(p.own, p.from)
	p.mover = movestore.NewMover(p.store)
	return nil
}

// loadMigrateFrom loads the module of migrate_from, nil without one, and notes
// it in what shapes the store.
func (g *Generation) loadMigrateFrom(shape *storeSettings) (storeapi.Module, error) {
	raw := g.car.MigrateFromRaw
	if raw == nil {
		return nil, nil
	}
	if err := g.files.noteInJSON(raw); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(g.car.ctx)
	g.releases = append(g.releases, sync.OnceFunc(cancel))
	// Caddy takes away what it has loaded.
	value, err := ctx.LoadModule(&Sidecar{MigrateFromRaw: slices.Clone(raw)}, "MigrateFromRaw")
	if err != nil {
		return nil, err
	}
	module, ok := value.(storeapi.Module)
	if !ok {
		return nil, fmt.Errorf("module %T is not a store of connections", value)
	}
	shape.FromModule, shape.FromSettings = module.CaddyModule().ID.Name(), module.StoreSettings()
	same := pool.KeyOf("same", storeSettings{Module: shape.FromModule, Settings: shape.FromSettings}) ==
		pool.KeyOf("same", storeSettings{Module: shape.Module, Settings: shape.Settings})
	if same || shape.FromModule == shape.Module && shape.Module == "caddy" {
		return nil, errors.New("is the same place as store; name the store from which connections are to be moved")
	}
	return module, nil
}

// checkTimeout bounds the check of what is stored.
const checkTimeout = 10 * time.Second

// checkStored notes the files of the store, and has it checked that a store
// which is to follow another reads what is stored.
func (g *Generation) checkStored(module storeapi.Module, key pool.Key, before *Generation) error {
	follower, ok := module.(storeapi.Follower)
	if !ok {
		return nil
	}
	opens := struct {
		Store pool.Key
		Files map[string]digest
	}{key, make(map[string]digest)}
	for _, path := range follower.Files() {
		if before != nil && !before.files.has(path) {
			continue // made since then, for the store that is open
		}
		if err := g.files.note(path); err != nil {
			return err
		}
		opens.Files[path] = g.files.seen[path]
	}
	g.opens = pool.KeyOf("opens", opens)
	if before == nil || g.opens == before.opens {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.car.ctx, checkTimeout)
	defer cancel()
	return follower.CheckStored(ctx, g.car.ctx.Storage())
}

// attach makes the store act for this config.
func (p *pooledStore) attach(s *Sidecar) (detach func()) {
	detachStorage := p.storage.Attach(s.ctx.Storage())
	detachLogs := p.logs.Attach(s.logger.Handler())
	return func() { detachStorage(); detachLogs() }
}

// hold keeps the store open for a pooled value that uses it.
func (p *pooledStore) hold() (release func(), err error) {
	_, release, err = pool.Acquire(p.key, func() (*pooledStore, error) {
		return nil, fmt.Errorf("store %s is closed", p.name)
	})
	return release, err
}

// Destruct closes the store.
func (p *pooledStore) Destruct() error {
	pool.CloseSoon(func(context.Context) {
		for _, store := range p.places() {
			closeStore(store)
		}
	})
	return nil
}

func closeStore(store connection.Store) {
	switch c := store.(type) {
	case interface{ Close() }:
		c.Close()
	case io.Closer:
		_ = c.Close()
	}
}

// places are where connections are kept: the store, and that of migrate_from.
func (p *pooledStore) places() []connection.Store {
	if p.from == nil {
		return []connection.Store{p.own}
	}
	return []connection.Store{p.own, p.from}
}

// Mover returns what moves connections from the store of migrate_from; nil
// without one.
func (s *Sidecar) Mover() *movestore.Mover { return s.live.current.Load().store.mover }

// MoveDocuments moves what is kept beside connections in the store of
// migrate_from.
func (s *Sidecar) MoveDocuments(ctx context.Context) (int, error) {
	if documents, ok := s.live.current.Load().store.store.(*movestore.WithDocuments); ok {
		return documents.MoveDocuments(ctx)
	}
	return 0, nil
}

// GoString keeps a pool's panic from printing what the store holds.
func (p *pooledStore) GoString() string { return "pooledStore(" + p.key.String() + ")" }

// healthyStore is a store that can say whether it can be used now.
type healthyStore interface {
	// Health returns nil, or why the store cannot be used.
	Health(ctx context.Context) error
}

// probe asks the store whether it can be used.
func (p *pooledStore) probe(ctx context.Context) error {
	if err := probe(ctx, p.own); err != nil || p.from == nil {
		return err
	}
	if err := probe(ctx, p.from); err != nil {
		return fmt.Errorf("the store of migrate_from: %w", err)
	}
	return nil
}

func probe(ctx context.Context, store connection.Store) error {
	if s, ok := store.(healthyStore); ok {
		return s.Health(ctx)
	}
	_, err := store.List(ctx, "readiness", "", 1)
	if errors.Is(err, connection.ErrNotFound) {
		return nil
	}
	return err
}

// need tells the stores what this config uses them for.
func (p *pooledStore) need(apps []*hubapp.App) {
	var n connection.Needs
	for _, app := range apps {
		n.Apps = append(n.Apps, app.Name)
	}
	if checker, ok := p.from.(connection.RightsChecker); ok {
		checker.Need(n)
	}
	for _, app := range apps {
		n.Documents = n.Documents || app.Settings.Journal
		if path := app.Settings.CredentialsPath; path != "" {
			n.Credentials = append(n.Credentials, path)
		}
	}
	if checker, ok := p.own.(connection.RightsChecker); ok {
		checker.Need(n)
	}
}
