package vaultstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

const (
	idKeyField = "key"
	idKeySize  = 32
)

// id names a key. It is the way into the store: the mount is known to be
// good when it has returned.
func (s *Store) id(ctx context.Context, key connection.Key) (string, error) {
	if key.User == "" {
		return "", errors.New("the user identifier is empty")
	}
	idKey, err := s.idKey(ctx, key.App)
	if err != nil {
		return "", err
	}
	return makeID(idKey, key), nil
}

// idKey returns the app's id key, which is made by whoever needs it first and
// never changes.
func (s *Store) idKey(ctx context.Context, app string) ([]byte, error) {
	path, err := s.paths.idKey(app)
	if err != nil {
		return nil, err
	}
	if err := s.checkMount(ctx); err != nil {
		return nil, s.explained(ctx, err, s.saveRules(app))
	}
	if known, ok := s.idKeys.Load(app); ok {
		return known.([]byte), nil
	}
	made, err := s.shared(ctx, "id key of "+app, func(ctx context.Context) (any, error) {
		key, err := s.fetchIDKey(ctx, path, s.paths.idKeyRule(app))
		if err != nil {
			return nil, fmt.Errorf("reading the app's id key: %w", err)
		}
		s.idKeys.Store(app, key)
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	return made.([]byte), nil
}

func (s *Store) fetchIDKey(ctx context.Context, path string, under rule) ([]byte, error) {
	key, err := s.readIDKey(ctx, path, under)
	if !errors.Is(err, connection.ErrNotFound) {
		return key, err
	}
	key = make([]byte, idKeySize)
	// It cannot fail: crypto/rand ends the program if it does.
	_, _ = rand.Read(key)
	fields := map[string]string{idKeyField: base64.StdEncoding.EncodeToString(key)}
	_, written := s.write(ctx, path, under, fields, 0)
	if written != nil && !errors.Is(written, connection.ErrConflict) && !errors.Is(written, errDenied) {
		return nil, written
	}
	// Whatever stands there counts, not what was sent. Somebody who was
	// faster makes the write a conflict, or denied to a policy that allows
	// to create and not to update.
	key, err = s.readIDKey(ctx, path, under)
	if !errors.Is(err, connection.ErrNotFound) {
		return key, err
	}
	if errors.Is(written, errDenied) {
		return nil, written
	}
	return nil, unavailable(errors.New("it is gone right after it was made"))
}

func (s *Store) readIDKey(ctx context.Context, path string, under rule) ([]byte, error) {
	got, err := s.get(ctx, s.config.Mount, path, under)
	switch {
	case errors.Is(err, connection.ErrCorrupt):
		return nil, unavailable(err)
	case err != nil:
		return nil, err
	case got.Data == nil:
		return nil, unavailable(errors.New("it was deleted; all connections of the app are lost without it: undelete it"))
	}
	fields, err := fieldsOf(got)
	if err != nil {
		return nil, unavailable(err)
	}
	key, err := base64.StdEncoding.DecodeString(fields[idKeyField])
	if err != nil || len(key) != idKeySize {
		return nil, unavailable(fmt.Errorf("field %q is not %d bytes in base64", idKeyField, idKeySize))
	}
	return key, nil
}
