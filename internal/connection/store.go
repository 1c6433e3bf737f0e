package connection

import (
	"context"
	"errors"
)

// Errors that a [Store] returns, wrapped with what it was doing. See also
// [ErrCorrupt] and [ErrDenied].
var (
	// ErrNotFound means that the store was asked and has no record for the key.
	ErrNotFound = errors.New("connection not found")
	// ErrConflict means that a save was refused because the stored version
	// is not the one it was based on. The other version may be the
	// caller's own write whose answer was lost: re-read and compare WriteID.
	ErrConflict = errors.New("connection was changed by another writer")
	// ErrUnavailable means that the store did not give an answer that can
	// be relied on: down, sealed, refusing the login, slow. A save that
	// returns it may or may not have been done.
	ErrUnavailable = errors.New("connection store unavailable")
	// ErrBadCursor means that a cursor did not come from a listing.
	ErrBadCursor = errors.New("cursor is not one that a listing gave")
)

// Versioned is a record as it stands in a store.
type Versioned struct {
	Record
	// Version starts at 1 and grows by one with each save.
	Version uint64
}

// Page is a part of a listing.
type Page struct {
	Records []Versioned
	// Next is the cursor that continues the listing; empty at its end.
	Next string
}

// Store keeps one versioned document per connection. It is dumb: it neither
// judges records nor retries; all rules are in the [Manager]. A Store is safe
// for concurrent use, by several processes too. Its calls return within the
// store's own timeout, or earlier when ctx ends.
type Store interface {
	// Load returns the newest record of key, or an error that wraps
	// ErrNotFound, ErrCorrupt, ErrDenied or ErrUnavailable.
	Load(ctx context.Context, key Key) (Versioned, error)

	// Save writes r as the version after based if the stored version still
	// is based, and returns the new version. A based of 0 means that there
	// must be no record yet. Errors wrap ErrConflict, ErrDenied or
	// ErrUnavailable.
	Save(ctx context.Context, r Record, based uint64) (uint64, error)

	// Erase destroys the content of every stored version of key that is
	// older than keep. Erasing what is not there is no error.
	Erase(ctx context.Context, key Key, keep uint64) error

	// List returns up to limit records of app, tombstones included, in a
	// stable order, from the one after the cursor; the empty cursor is the
	// start. Records that cannot be read (ErrCorrupt) are left out.
	// Errors wrap ErrBadCursor, ErrDenied or ErrUnavailable.
	List(ctx context.Context, app, cursor string, limit int) (Page, error)

	// ID returns the opaque, stable identifier of key: lowercase hex that
	// shows nothing of the user and is the same in every process that
	// shares the store. It may have to read the store once.
	ID(ctx context.Context, key Key) (string, error)

	Ledger
}

// SaveChecker is what a [Store] is beside if it can tell whether it would take
// a record, without writing one.
type SaveChecker interface {
	// CanSave returns nil, or why a record of key would not be taken: an
	// error that wraps ErrDenied or ErrUnavailable. It may answer from what
	// it knows of a moment ago.
	CanSave(ctx context.Context, key Key) error
}

// Needs is what a store will be used for.
type Needs struct {
	// Apps are the names of the apps whose connections are kept.
	Apps []string
	// Credentials are the paths at which client credentials are read.
	Credentials []string
	// Documents says that a [DocumentStore]'s documents are needed as well,
	// and not used only where that is permitted.
	Documents bool
}

// RightsChecker is what a [Store] is beside if it can find out whether it may do
// what it is needed for, before somebody needs it.
type RightsChecker interface {
	// Need says what the store is needed for. It does no I/O.
	Need(n Needs)
}
