package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// MeasureStore returns a store that measures the operations of another, which
// operators know by name.
func (m *Metrics) MeasureStore(name string, store connection.Store) connection.Store {
	return &measuredStore{Store: store, measure: m.storeOperation(name)}
}

// MeasureDocuments is [Metrics.MeasureStore] for a store's documents.
func (m *Metrics) MeasureDocuments(name string, store connection.DocumentStore) connection.DocumentStore {
	return &measuredDocuments{DocumentStore: store, measure: m.storeOperation(name)}
}

// measure notes an operation of a store that has ended now.
type measure func(operation string, begun time.Time, err error)

func (m *Metrics) storeOperation(store string) measure {
	return func(operation string, begun time.Time, err error) {
		m.storeOperations.WithLabelValues(store, operation, storeResult(err)).Observe(time.Since(begun).Seconds())
	}
}

type measuredStore struct {
	connection.Store
	measure measure
}

// storeResult names the outcome of a store's operation.
func storeResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, connection.ErrNotFound):
		return "not_found"
	case errors.Is(err, connection.ErrConflict):
		return "conflict"
	case errors.Is(err, connection.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, connection.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, connection.ErrDenied):
		return "denied"
	}
	return "error"
}

func (s *measuredStore) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	begun := time.Now()
	record, err := s.Store.Load(ctx, key)
	s.measure("load", begun, err)
	return record, err
}

func (s *measuredStore) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	begun := time.Now()
	version, err := s.Store.Save(ctx, r, based)
	s.measure("save", begun, err)
	return version, err
}

func (s *measuredStore) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	begun := time.Now()
	err := s.Store.Erase(ctx, key, keep)
	s.measure("erase", begun, err)
	return err
}

func (s *measuredStore) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	begun := time.Now()
	page, err := s.Store.List(ctx, app, cursor, limit)
	s.measure("list", begun, err)
	return page, err
}

func (s *measuredStore) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	begun := time.Now()
	text, version, err := s.Store.LoadSheet(ctx, app, name)
	s.measure("load_sheet", begun, err)
	return text, version, err
}

func (s *measuredStore) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	begun := time.Now()
	version, err := s.Store.SaveSheet(ctx, app, name, text, based)
	s.measure("save_sheet", begun, err)
	return version, err
}

// CanSave implements [connection.SaveChecker]. A store that cannot tell says
// nothing against it.
func (s *measuredStore) CanSave(ctx context.Context, key connection.Key) error {
	checker, ok := s.Store.(connection.SaveChecker)
	if !ok {
		return nil
	}
	begun := time.Now()
	err := checker.CanSave(ctx, key)
	s.measure("can_save", begun, err)
	return err
}

type measuredDocuments struct {
	connection.DocumentStore
	measure measure
}

func (s *measuredDocuments) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	begun := time.Now()
	text, version, err := s.DocumentStore.LoadDocument(ctx, name)
	s.measure("load_document", begun, err)
	return text, version, err
}

func (s *measuredDocuments) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	begun := time.Now()
	version, err := s.DocumentStore.SaveDocument(ctx, name, text, based)
	s.measure("save_document", begun, err)
	return version, err
}
