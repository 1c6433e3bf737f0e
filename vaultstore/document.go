package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

var _ connection.DocumentStore = (*Store)(nil)

// documentField is the field that holds a document's text: as a string, which
// the audit log hashes.
const documentField = "text"

// LoadDocument implements [connection.DocumentStore]. A document that an
// operator deleted in Vault is empty, because its version goes on counting.
// A policy without the documents' path is ErrDenied, and costs no login.
func (s *Store) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	text, version, err := s.loadDocument(ctx, name)
	if err != nil {
		return "", 0, fmt.Errorf("loading document: %w", err)
	}
	return text, version, nil
}

func (s *Store) loadDocument(ctx context.Context, name string) (string, uint64, error) {
	path, err := s.documentPath(ctx, name, "")
	if err != nil {
		return "", 0, err
	}
	got, err := s.gotten(s.permitted(ctx, s.getting(ctx, s.config.Mount, path)))
	if err != nil {
		return "", 0, err
	}
	version := uint64(got.VersionMetadata.Version)
	if got.Data == nil {
		return "", version, nil
	}
	fields, err := fieldsOf(got)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", connection.ErrCorrupt, err)
	}
	return fields[documentField], version, nil
}

// SaveDocument implements [connection.DocumentStore].
func (s *Store) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	version, err := s.saveDocument(ctx, name, text, based)
	if err != nil {
		return 0, fmt.Errorf("saving document: %w", err)
	}
	return version, nil
}

func (s *Store) saveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	path, err := s.documentPath(ctx, name, text)
	if err != nil {
		return 0, err
	}
	return s.written(s.permitted(ctx, s.putting(ctx, path, map[string]string{documentField: text}, based)))
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

// permitted is call for what the policy of a login may not allow, and is
// asked all the time: a 403 leads to another login only if asking for the
// mount, which every policy allows, shows that the token is dead. Its errors
// are those of call, or ErrDenied.
func (s *Store) permitted(ctx context.Context, do func(*api.Client) (*api.KVSecret, error)) (*api.KVSecret, error) {
	for attempt := 0; ; attempt++ {
		g, err := s.session.current(ctx)
		if err != nil {
			return nil, err
		}
		got, err := ask(ctx, s.client, func() (*api.KVSecret, error) { return do(s.client.as(g.token)) })
		switch {
		case err == nil || errors.Is(err, connection.ErrNotFound):
			if attempt > 0 {
				s.session.helped()
			}
			return got, err
		case statusOf(err) != http.StatusForbidden:
			return nil, unavailable(err)
		case attempt > 0:
			return nil, s.paths.documentRule().denied()
		}
		if err := s.verifyMount(ctx); err != nil {
			return nil, err
		}
		switch now, err := s.session.current(ctx); {
		case err != nil:
			return nil, err
		case now.number == g.number:
			return nil, s.paths.documentRule().denied()
		}
	}
}
