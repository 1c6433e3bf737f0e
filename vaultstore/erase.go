package vaultstore

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Erase implements [connection.Store]. It destroys the versions and leaves
// the metadata: deleting that would let the version start at 1 again, and a
// late writer in.
func (s *Store) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.erase(ctx, key, keep); err != nil {
		return fmt.Errorf("erasing old versions of connection: %w", err)
	}
	return nil
}

func (s *Store) erase(ctx context.Context, key connection.Key, keep uint64) error {
	id, err := s.id(ctx, key)
	if err != nil {
		return err
	}
	old, err := s.versionsBefore(ctx, key.App, id, keep)
	if err != nil || len(old) == 0 {
		return err
	}
	path, err := s.paths.record("destroy", key.App, id)
	if err != nil {
		return err
	}
	a, err := s.call(ctx, request{method: http.MethodPost, path: path, body: map[string]any{"versions": old}})
	if err != nil {
		return err
	}
	if err := a.err(); err != nil {
		return unavailable(err)
	}
	return nil
}

// versionsBefore returns the versions that still have content. They are asked
// for, because Vault makes a storage write of each number that it is told to
// destroy, and how many it keeps is the mount's affair.
func (s *Store) versionsBefore(ctx context.Context, app, id string, keep uint64) ([]uint64, error) {
	path, err := s.paths.record("metadata", app, id)
	if err != nil {
		return nil, err
	}
	a, err := s.call(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	if a.isAbsent() {
		return nil, nil
	}
	if err := a.err(); err != nil {
		return nil, unavailable(err)
	}
	var body struct {
		Data struct {
			Versions map[string]struct {
				Destroyed bool `json:"destroyed"`
			} `json:"versions"`
		} `json:"data"`
	}
	if err := a.decode(&body); err != nil {
		return nil, unavailable(err)
	}
	var old []uint64
	for name, version := range body.Data.Versions {
		number, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, unavailable(errNotVault)
		}
		if number < keep && !version.Destroyed {
			old = append(old, number)
		}
	}
	slices.Sort(old)
	return old, nil
}
