package vaultstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

var _ connection.DocumentStore = (*Store)(nil)

// documentField is the field that holds a document's text: as a string, which
// the audit log hashes.
const documentField = "text"

// LoadDocument implements [connection.DocumentStore]. A document that an
// operator deleted in Vault is empty, because its version goes on counting.
// A policy without the documents' path is ErrDenied, and costs no login.
func (s *Store) LoadDocument(ctx context.Context, name string) (text string, version uint64, err error) {
	defer saying("loading document", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	path, err := s.documentPath(ctx, name, "")
	if err != nil {
		return "", 0, err
	}
	got, err := s.get(ctx, s.config.Mount, path, s.paths.documentRule())
	if err != nil {
		return "", 0, err
	}
	fields, err := fieldsOf(got)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", connection.ErrCorrupt, err)
	}
	return fields[documentField], uint64(got.VersionMetadata.Version), nil
}

// SaveDocument implements [connection.DocumentStore].
func (s *Store) SaveDocument(ctx context.Context, name, text string, based uint64) (_ uint64, err error) {
	defer saying("saving document", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	path, err := s.documentPath(ctx, name, text)
	if err != nil {
		return 0, err
	}
	return s.write(ctx, path, s.paths.documentRule(), map[string]string{documentField: text}, based)
}

// documentPath checks a document and returns where it stands. The mount is
// known to be good when it has returned.
func (s *Store) documentPath(ctx context.Context, name, text string) (string, error) {
	if err := connection.CheckDocument(name, text); err != nil {
		return "", err
	}
	path, err := s.paths.document(name)
	if err != nil {
		return "", err
	}
	err = s.checkMount(ctx)
	if errors.Is(err, errNoAccess) {
		// It stays ErrUnavailable: what was ordered must not be lifted
		// because nothing at all can be read.
		s.complaint.say(err)
	}
	return path, err
}
