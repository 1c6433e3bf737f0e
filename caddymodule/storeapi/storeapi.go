// Package storeapi is for the authors of modules that keep connections: a
// Caddy module in the namespace hubspot.stores is a [Module]. The sidecar's own
// stores are made with it too.
package storeapi

import (
	"context"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// The types and errors that a [Store] is made of. A record is written as the
// fields of its Encode method and read with [DecodeRecord].
type (
	// Store keeps one versioned document per connection.
	Store = connection.Store
	// Key names a connection.
	Key = connection.Key
	// Record is the document.
	Record = connection.Record
	// VersionedRecord is a record as it stands in a store.
	VersionedRecord = connection.Versioned
	// RecordPage is a part of a listing.
	RecordPage = connection.Page
	// Ledger is the part of a Store that keeps, per app, who holds which
	// grant.
	Ledger = connection.Ledger
	// DocumentStore is what a Store is beside if it keeps the list of
	// freezes. Without it nothing can be frozen.
	DocumentStore = connection.DocumentStore
	// CredentialStore is what a Store is if it keeps the client credentials
	// of HubSpot apps too.
	CredentialStore = hubapp.CredentialStore
)

// What the methods of a [Store] return, wrapped with what they were doing.
var (
	ErrNotFound    = connection.ErrNotFound
	ErrConflict    = connection.ErrConflict
	ErrCorrupt     = connection.ErrCorrupt
	ErrUnavailable = connection.ErrUnavailable
	// ErrDenied is for what the store's policy does not permit.
	ErrDenied = connection.ErrDenied
)

// CheckDocument refuses names and texts that a [DocumentStore] does not take.
func CheckDocument(name, text string) error { return connection.CheckDocument(name, text) }

// CheckSheet refuses names and texts that a [Ledger] does not take.
func CheckSheet(name, text string) error { return connection.CheckSheet(name, text) }

// DecodeRecord reads a [Record] back from its fields.
func DecodeRecord(fields map[string]string) (Record, error) { return connection.Decode(fields) }

// Module is a Caddy module in the namespace hubspot.stores. Its Provision must
// not touch the network: a config can be checked on a machine that reaches
// nothing.
type Module interface {
	caddy.Module

	// StoreSettings returns everything that shapes the store, with
	// placeholders expanded and secrets included: they are hashed, and two
	// modules with the same settings share one store. It is a struct of
	// exported fields, which are texts, numbers, flags, and lists, maps,
	// pointers and structs of those; see [pool.KeyOf]. It is called after
	// Provision.
	//
	// [pool.KeyOf]: https://pkg.go.dev/github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool#KeyOf
	StoreSettings() any

	// OpenStore makes the store. It is called once for as long as any
	// config uses the store, so the store must not hold on to the module,
	// its context or its logger: config reloads end those and not the
	// store. It must not touch the network; an error is a load error. If
	// the store has a method Close() or Close() error, that is called when
	// no config uses the store any more.
	OpenStore(host Host) (Store, error)
}

// Follower is a [Module] whose store has a key, or reads files, so that its
// settings cannot just be changed while it runs. A change of a file that a
// placeholder names makes another module, and another store if its settings are
// others.
type Follower interface {
	Module

	// Files are those that the settings name and the store reads, beside those
	// of placeholders. They are looked at for changes. It is called after
	// Provision.
	Files() []string

	// CheckStored says why the store could not read what is stored, as with
	// another key. It is called before OpenStore if the settings or the files
	// are others than those of the store that is open. A network may be asked;
	// ctx bounds that.
	CheckStored(ctx context.Context, storage certmagic.Storage) error
}

// Host is what a store may use of Caddy. Both fields always act for the newest
// config that uses the store.
type Host struct {
	// Storage is Caddy's storage.
	Storage certmagic.Storage
	// Logger is for what operators need to know of the store. Secrets and
	// user identifiers must not be logged.
	Logger *slog.Logger
}
