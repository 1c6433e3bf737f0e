package vaultstore

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Erase implements [connection.Store]. It destroys the versions and leaves
// the metadata: deleting that would let the version start at 1 again, and a
// late writer in.
func (s *Store) Erase(ctx context.Context, key connection.Key, keep uint64) (err error) {
	defer saying("erasing old versions of connection", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	id, err := s.id(ctx, key)
	if err != nil {
		return err
	}
	path, err := s.paths.record(key.App, id)
	if err != nil {
		return err
	}
	old, err := s.versionsBefore(ctx, path, s.paths.metadataRule(key.App), keep)
	if err != nil || len(old) == 0 {
		return err
	}
	_, err = call(ctx, s, s.paths.destroyRule(key.App), func(v *api.Client) (struct{}, error) {
		return struct{}{}, v.KVv2(s.config.Mount).Destroy(ctx, path, old)
	})
	return err
}

// versionsBefore returns the versions that still have content. They are asked
// for, because Vault makes a storage write of each number that it is told to
// destroy, and how many it keeps is the mount's affair.
func (s *Store) versionsBefore(ctx context.Context, path string, under rule, keep uint64) ([]int, error) {
	all, err := call(ctx, s, under, func(v *api.Client) ([]api.KVVersionMetadata, error) {
		return v.KVv2(s.config.Mount).GetVersionsAsList(ctx, path)
	})
	if errors.Is(err, connection.ErrNotFound) {
		return nil, nil
	}
	var old []int
	for _, version := range all {
		if uint64(version.Version) < keep && !version.Destroyed {
			old = append(old, version.Version)
		}
	}
	return old, err
}
