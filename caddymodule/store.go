package caddymodule

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// The types and errors that a [Store] is made of, for store modules of other
// authors. A record is written as the fields of its Encode method and read
// with [DecodeRecord].
type (
	// Store keeps one versioned document per connection.
	Store = connection.Store
	// StoreKey names a connection.
	StoreKey = connection.Key
	// Record is the document.
	Record = connection.Record
	// VersionedRecord is a record as it stands in a store.
	VersionedRecord = connection.Versioned
	// RecordPage is a part of a listing.
	RecordPage = connection.Page
	// DocumentStore is what a Store is beside if it keeps the list of
	// freezes. Without it nothing can be frozen.
	DocumentStore = connection.DocumentStore
)

// What the methods of a [Store] return, wrapped with what they were doing.
var (
	ErrRecordNotFound   = connection.ErrNotFound
	ErrRecordConflict   = connection.ErrConflict
	ErrRecordCorrupt    = connection.ErrCorrupt
	ErrStoreUnavailable = connection.ErrUnavailable
	// ErrStoreDenied is for a DocumentStore only.
	ErrStoreDenied = connection.ErrDenied
)

// CheckDocument refuses names and texts that a [DocumentStore] does not take.
func CheckDocument(name, text string) error { return connection.CheckDocument(name, text) }

// DecodeRecord reads a [Record] back from its fields.
func DecodeRecord(fields map[string]string) (Record, error) { return connection.Decode(fields) }

// StoreModule is a Caddy module in the namespace hubspot.stores. Its
// Provision must not touch the network: a config can be checked on a machine
// that reaches nothing.
type StoreModule interface {
	caddy.Module

	// StoreSettings returns everything that shapes the store, with
	// placeholders expanded and secrets included: the values are hashed,
	// and two modules with the same settings share one store. It is called
	// after Provision.
	StoreSettings() []string

	// OpenStore makes the store. It is called once for as long as any
	// config uses the store, so the store must not hold on to the module,
	// its context or its logger: config reloads end those and not the
	// store. It must not touch the network; an error is a load error. If
	// the store has a method Close() or Close() error, that is called when
	// no config uses the store any more.
	OpenStore(host StoreHost) (Store, error)
}

// StoreHost is what a store may use of Caddy. Both fields always act for the
// newest config that uses the store.
type StoreHost struct {
	// Storage is Caddy's storage.
	Storage certmagic.Storage
	// Logger is for what operators need to know of the store. Secrets and
	// user identifiers must not be logged.
	Logger *slog.Logger
}

// pooledStore is an open store and what it uses of the newest config.
type pooledStore struct {
	key     poolKey
	name    string
	store   connection.Store
	storage newest[certmagic.Storage]
	logs    newest[slog.Handler]
}

// acquireStore opens the module's store or takes the one that is open.
func acquireStore(ctx caddy.Context, module StoreModule, logger *slog.Logger) (*pooledStore, func(), error) {
	name := module.CaddyModule().ID.Name()
	key := newKeyMaker("store").add(name, module.StoreSettings()...).key()
	store, release, err := acquire(key, func() (*pooledStore, error) {
		p := &pooledStore{key: key, name: name}
		// OpenStore may log; the host has to work from the start.
		detach := p.attach(ctx, logger)
		defer detach()
		var err error
		p.store, err = module.OpenStore(StoreHost{
			Storage: &newestStorage{newest: &p.storage},
			Logger:  slog.New(newestHandler{logs: &p.logs}),
		})
		if err != nil {
			return nil, fmt.Errorf("opening store %s: %w", name, err)
		}
		return p, nil
	})
	if err != nil {
		return nil, nil, err
	}
	detach := store.attach(ctx, logger)
	return store, func() { detach(); release() }, nil
}

// attach makes the store act for this config.
func (p *pooledStore) attach(ctx caddy.Context, logger *slog.Logger) (detach func()) {
	detachStorage := p.storage.attach(ctx.Storage())
	detachLogs := p.logs.attach(logger.Handler())
	return func() { detachStorage(); detachLogs() }
}

// hold keeps the store open for a pooled value that uses it.
func (p *pooledStore) hold() (release func(), err error) {
	_, release, err = acquire(p.key, func() (*pooledStore, error) {
		return nil, fmt.Errorf("store %s is closed", p.name)
	})
	return release, err
}

// Destruct closes the store.
func (p *pooledStore) Destruct() error {
	closeSoon(func(context.Context) {
		switch c := p.store.(type) {
		case interface{ Close() }:
			c.Close()
		case io.Closer:
			_ = c.Close()
		}
	})
	return nil
}

// GoString keeps a pool's panic from printing what the store holds.
func (p *pooledStore) GoString() string { return "pooledStore(" + p.key.String() + ")" }
