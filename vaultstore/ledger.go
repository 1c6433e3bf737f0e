package vaultstore

import (
	"context"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// LoadSheet implements [connection.Ledger]. A sheet that an operator deleted in
// Vault is empty, because its version goes on counting.
func (s *Store) LoadSheet(ctx context.Context, app, name string) (text string, version uint64, err error) {
	defer saying("loading sheet", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	path, err := s.sheetPath(ctx, app, name, "")
	if err != nil {
		return "", 0, err
	}
	got, err := s.get(ctx, s.config.Mount, path, s.paths.recordRule(app))
	if err != nil {
		return "", 0, err
	}
	fields, err := fieldsOf(got)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", connection.ErrCorrupt, err)
	}
	return fields[documentField], uint64(got.VersionMetadata.Version), nil
}

// SaveSheet implements [connection.Ledger].
func (s *Store) SaveSheet(ctx context.Context, app, name, text string, based uint64) (_ uint64, err error) {
	defer saying("saving sheet", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	path, err := s.sheetPath(ctx, app, name, text)
	if err != nil {
		return 0, err
	}
	return s.write(ctx, path, s.paths.recordRule(app), map[string]string{documentField: text}, based)
}

// Mark implements [connection.Ledger], with the app's id key.
func (s *Store) Mark(ctx context.Context, app, text string) (_ string, err error) {
	defer saying("hashing for the ledger", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	idKey, err := s.idKey(ctx, app)
	if err != nil {
		return "", err
	}
	return makeMark(idKey, app, text), nil
}

// sheetPath checks a sheet and returns where it stands. The mount is known to
// be good when it has returned.
func (s *Store) sheetPath(ctx context.Context, app, name, text string) (string, error) {
	if err := connection.CheckSheet(name, text); err != nil {
		return "", err
	}
	path, err := s.paths.sheet(app, name)
	if err != nil {
		return "", err
	}
	return path, s.checkMount(ctx)
}
