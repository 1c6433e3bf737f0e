package vaultstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// kvAnswer is what reading a KV v2 secret gives. Data is null where the
// newest version was deleted or destroyed.
type kvAnswer struct {
	Data struct {
		Data     json.RawMessage `json:"data"`
		Metadata struct {
			Version uint64 `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

func (k kvAnswer) isDeleted() bool {
	return len(k.Data.Data) == 0 || string(k.Data.Data) == "null"
}

// fields returns the secret's fields, all of which must be strings.
func (k kvAnswer) fields() (map[string]string, error) {
	var fields map[string]string
	if json.Unmarshal(k.Data.Data, &fields) != nil {
		return nil, errors.New("a field is not a string")
	}
	return fields, nil
}

// get reads the newest version of a secret. Its errors wrap ErrNotFound if
// there never was one, ErrCorrupt if Vault lost it, and ErrUnavailable. A
// deleted one is no error.
func (s *Store) get(ctx context.Context, path string) (kvAnswer, error) {
	a, err := s.call(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return kvAnswer{}, err
	}
	var body kvAnswer
	switch {
	case a.status == http.StatusOK:
		if err := a.decode(&body); err != nil {
			return kvAnswer{}, unavailable(err)
		}
		if body.Data.Metadata.Version == 0 {
			return kvAnswer{}, s.notKV(errNotVault)
		}
		return body, nil
	case a.status == http.StatusNotFound && a.decode(&body) == nil && body.Data.Metadata.Version > 0:
		return body, nil
	case a.isAbsent():
		return kvAnswer{}, connection.ErrNotFound
	case a.isDamaged():
		return kvAnswer{}, fmt.Errorf("%w: vault has lost its content", connection.ErrCorrupt)
	case a.status == http.StatusNotFound:
		return kvAnswer{}, s.notKV(a.err())
	}
	return kvAnswer{}, unavailable(a.err())
}

// read loads a record by its id.
func (s *Store) read(ctx context.Context, app, id string) (connection.Versioned, error) {
	path, err := s.paths.record("data", app, id)
	if err != nil {
		return connection.Versioned{}, err
	}
	body, err := s.get(ctx, path)
	if err != nil {
		return connection.Versioned{}, err
	}
	version := body.Data.Metadata.Version
	if body.isDeleted() {
		return connection.Versioned{
			Record:  connection.Record{Status: connection.StatusDisconnected, Reason: "deleted in vault"},
			Version: version,
		}, nil
	}
	fields, err := body.fields()
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
func (s *Store) write(ctx context.Context, path string, fields map[string]string, based uint64) (uint64, error) {
	a, err := s.call(ctx, request{method: http.MethodPost, path: path, body: map[string]any{
		"data":    fields,
		"options": map[string]uint64{"cas": based},
	}})
	if err != nil {
		return 0, err
	}
	var body struct {
		Data struct {
			Version uint64 `json:"version"`
		} `json:"data"`
	}
	switch {
	case a.status == http.StatusOK && a.decode(&body) == nil && body.Data.Version > 0:
		return body.Data.Version, nil
	case a.isConflict():
		return 0, connection.ErrConflict
	case a.status < 300 || a.status == http.StatusNotFound:
		// A KV v1 mount takes such a write and ignores check-and-set.
		return 0, s.notKV(errors.New("the mount did not answer as KV v2 does"))
	}
	return 0, unavailable(a.err())
}

// notKV makes the next call look at the mount again.
func (s *Store) notKV(err error) error {
	s.mountGood.Store(false)
	return unavailable(err)
}
