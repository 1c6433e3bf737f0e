package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// textOf returns a field of an answer's data, or "" if it is no text.
func textOf(got *api.Secret, name string) string {
	if got == nil {
		return ""
	}
	s, _ := got.Data[name].(string)
	return s
}

// fieldsOf returns a secret's fields, all of which must be strings.
func fieldsOf(got *api.KVSecret) (map[string]string, error) {
	fields := make(map[string]string, len(got.Data))
	for name, value := range got.Data {
		s, ok := value.(string)
		if !ok {
			return nil, errors.New("a field is not a string")
		}
		fields[name] = s
	}
	return fields, nil
}

// get reads the newest version of a secret. Its errors wrap ErrNotFound if
// there never was one, ErrCorrupt if Vault lost it, ErrDenied and
// ErrUnavailable. A deleted one is no error and has no Data.
func (s *Store) get(ctx context.Context, mount, path string, under rule) (*api.KVSecret, error) {
	got, err := call(ctx, s, under, func(v *api.Client) (*api.KVSecret, error) { return v.KVv2(mount).Get(ctx, path) })
	switch {
	case isDamaged(err):
		return nil, fmt.Errorf("%w: vault has lost its content", connection.ErrCorrupt)
	case statusOf(err) == http.StatusNotFound || errors.Is(err, errNotVault):
		return nil, s.notKV(err)
	case err != nil:
		return nil, err
	case !hasVersion(got):
		return nil, s.notKV(errNotVault)
	}
	return got, nil
}

func hasVersion(got *api.KVSecret) bool {
	return got.VersionMetadata != nil && got.VersionMetadata.Version > 0
}

// read loads a record by its id.
func (s *Store) read(ctx context.Context, app, id string) (connection.Versioned, error) {
	path, err := s.paths.record(app, id)
	if err != nil {
		return connection.Versioned{}, err
	}
	got, err := s.get(ctx, s.config.Mount, path, s.paths.recordRule(app))
	if err != nil {
		return connection.Versioned{}, err
	}
	version := uint64(got.VersionMetadata.Version)
	if got.Data == nil {
		return connection.Versioned{
			Record:  connection.Record{Status: connection.StatusDisconnected, Reason: "deleted in vault"},
			Version: version,
		}, nil
	}
	fields, err := fieldsOf(got)
	if err != nil {
		return connection.Versioned{}, fmt.Errorf("%w: %w", connection.ErrCorrupt, err)
	}
	r, err := connection.Decode(fields)
	if err != nil {
		return connection.Versioned{}, err
	}
	return connection.Versioned{Record: r, Version: version}, nil
}

// write saves fields as the version after based and returns that.
func (s *Store) write(ctx context.Context, path string, under rule, fields map[string]string, based uint64) (uint64, error) {
	data := make(map[string]any, len(fields))
	for name, value := range fields {
		data[name] = value
	}
	got, err := call(ctx, s, under, func(v *api.Client) (*api.KVSecret, error) {
		return v.KVv2(s.config.Mount).Put(ctx, path, data, api.WithCheckAndSet(int(based)))
	})
	switch {
	case isConflict(err):
		return 0, connection.ErrConflict
	case err == nil && hasVersion(got):
		return uint64(got.VersionMetadata.Version), nil
	case err == nil || errors.Is(err, connection.ErrNotFound) || errors.Is(err, errNotVault) || statusOf(err) == http.StatusNotFound:
		// A KV v1 mount takes such a write and ignores check-and-set.
		return 0, s.notKV(errors.New("the mount did not answer as KV v2 does"))
	}
	return 0, err
}

// notKV makes the next call look at the mount again.
func (s *Store) notKV(err error) error {
	s.mountGood.Store(false)
	return unavailable(err)
}
