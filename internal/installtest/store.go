package installtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// Store is a store in memory that counts what it is asked about connections.
type Store struct {
	connection.Store
	connection.DocumentStore

	calls  atomic.Int64
	broken atomic.Bool
	denies atomic.Bool
}

// NewStore makes a Store.
func NewStore(t testing.TB) *Store {
	t.Helper()
	store := sidecartest.MemoryStore(t)
	documents, ok := store.(connection.DocumentStore)
	if !ok {
		t.Fatal("the store in memory keeps no documents")
	}
	return &Store{Store: store, DocumentStore: documents}
}

// Calls is how often the store was asked for connections so far.
func (s *Store) Calls() int64 { return s.calls.Load() }

// Break has the store answer nothing about connections from now on.
func (s *Store) Break() { s.broken.Store(true) }

// Deny has the store say from now on that it takes no connection. It is asked,
// and does take one.
func (s *Store) Deny() { s.denies.Store(true) }

// CanSave implements [connection.SaveChecker].
func (s *Store) CanSave(context.Context, connection.Key) error {
	if s.denies.Load() {
		return fmt.Errorf("store of the test: %w", connection.ErrDenied)
	}
	return nil
}

func (s *Store) called() error {
	s.calls.Add(1)
	if s.broken.Load() {
		return fmt.Errorf("store of the test: %w", connection.ErrUnavailable)
	}
	return nil
}

// Load implements [connection.Store].
func (s *Store) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	if err := s.called(); err != nil {
		return connection.Versioned{}, err
	}
	return s.Store.Load(ctx, key)
}

// Save implements [connection.Store].
func (s *Store) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	if err := s.called(); err != nil {
		return 0, err
	}
	return s.Store.Save(ctx, r, based)
}

// Erase implements [connection.Store].
func (s *Store) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	if err := s.called(); err != nil {
		return err
	}
	return s.Store.Erase(ctx, key, keep)
}

// LoadSheet implements [connection.Ledger].
func (s *Store) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	if err := s.called(); err != nil {
		return "", 0, err
	}
	return s.Store.LoadSheet(ctx, app, name)
}

// SaveSheet implements [connection.Ledger].
func (s *Store) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	if err := s.called(); err != nil {
		return 0, err
	}
	return s.Store.SaveSheet(ctx, app, name, text, based)
}

// List implements [connection.Store].
func (s *Store) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	if err := s.called(); err != nil {
		return connection.Page{}, err
	}
	return s.Store.List(ctx, app, cursor, limit)
}
