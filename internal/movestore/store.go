// Package movestore is a store of connections that takes the place of another
// one while it is in use: what the new store lacks is read from the old one and
// moved with its first write. All sidecars that have both may run at once, and
// beside them those that still have the old one alone.
//
// A record is moved in an order in which no step that is the last one loses
// anything, or lets two sides refresh one grant:
//
//  1. It is created in the new store with a mark, the version that it has in the
//     old one. Nobody uses it while the mark says that step 2 may be missing.
//  2. In the old store, and only over that version, a record takes its place
//     that has no refresh token. Whoever was about to use the refresh token
//     there has a claim, which is a version of its own, so that step 2 fails.
//
// Whoever finds a mark does step 2, or, if the old record is another by now,
// begins anew with that one.
package movestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// ReasonMoved is the reason of what stays in the old store. It has the
	// access token, so that a sidecar which knows the old store alone serves
	// with it until it ends.
	ReasonMoved = "moved"
	// fieldMoving is the mark: the version of the record in the old store.
	fieldMoving = "moving_from"
	// staticGrace is how long a sidecar with the old store alone serves with
	// a static token that was moved.
	staticGrace = 24 * time.Hour
)

// Store is both stores as one. It is safe for concurrent use.
//
// Versions are those of the new store. A record that is in the old one alone
// has the version 0, or that of what its place in the new one holds, and its
// mark among the fields that the Manager carries over.
type Store struct {
	to, from connection.Store
	// done are keys of which step 2 is known to be done.
	done doneSet
}

// New returns a store that moves what is in from to to. It keeps documents,
// as a [connection.DocumentStore], if both do.
func New(to, from connection.Store) connection.Store {
	s := &Store{to: to, from: from}
	toDocuments, ok := to.(connection.DocumentStore)
	fromDocuments, both := from.(connection.DocumentStore)
	if !ok || !both {
		return s
	}
	return &WithDocuments{Store: s, to: toDocuments, from: fromDocuments}
}

// Load implements [connection.Store].
func (s *Store) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	v, _, err := s.load(ctx, key)
	return v, err
}

// load reports whether the record is in the new store.
func (s *Store) load(ctx context.Context, key connection.Key) (v connection.Versioned, moved bool, err error) {
	stored, err := s.to.Load(ctx, key)
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return connection.Versioned{}, false, err
	}
	missing := err != nil
	if !missing && !isMarker(stored.Record) {
		if _, marked := moving(stored.Record); !marked {
			return stored, true, nil
		}
		if s.done.has(key) {
			return unmarked(stored), true, nil
		}
		return s.finish(ctx, stored)
	}
	old, err := s.from.Load(ctx, key)
	switch {
	case err == nil:
		return toMove(old, stored.Version), false, nil
	case errors.Is(err, connection.ErrNotFound) && !missing:
		return stored, true, nil
	}
	return connection.Versioned{}, false, err
}

// finish does step 2 for a record of the new store of which it may be missing.
func (s *Store) finish(ctx context.Context, stored connection.Versioned) (connection.Versioned, bool, error) {
	old, err := s.from.Load(ctx, stored.Key)
	if errors.Is(err, connection.ErrNotFound) {
		return unmarked(stored), true, nil
	}
	if err != nil {
		return connection.Versioned{}, false, err
	}
	version, _ := moving(stored.Record)
	switch {
	case hasLeft(old.Record, stored.Record):
	case old.Version != version:
		return toMove(old, stored.Version), false, nil
	default:
		err := s.release(ctx, stored.Record, version)
		if errors.Is(err, connection.ErrConflict) {
			return s.load(ctx, stored.Key)
		}
		if err != nil {
			return connection.Versioned{}, false, err
		}
	}
	s.done.add(stored.Key)
	return unmarked(stored), true, nil
}

// Save implements [connection.Store].
func (s *Store) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	version, marked := moving(r)
	if marked && !s.done.has(r.Key) {
		return s.move(ctx, r, based, version)
	}
	if !marked && based == 0 {
		switch _, err := s.from.Load(ctx, r.Key); {
		case err == nil:
			return 0, fmt.Errorf("creating connection: the store that is moved from has it: %w", connection.ErrConflict)
		case !errors.Is(err, connection.ErrNotFound):
			return 0, err
		}
	}
	return s.to.Save(ctx, withoutMark(r), based)
}

// move writes r, which was read from version of the old store.
func (s *Store) move(ctx context.Context, r connection.Record, based, version uint64) (uint64, error) {
	old, err := s.from.Load(ctx, r.Key)
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return s.to.Save(ctx, withoutMark(r), based)
	case err != nil:
		return 0, err
	case old.Version != version:
		return 0, fmt.Errorf("moving connection: %w", connection.ErrConflict)
	}
	saved, err := s.to.Save(ctx, r, based)
	if err != nil {
		return 0, err
	}
	if err := s.release(ctx, r, version); err != nil {
		return 0, err
	}
	s.done.add(r.Key)
	return saved, nil
}

// release is step 2. ErrConflict means that the old record is another by now.
func (s *Store) release(ctx context.Context, r connection.Record, version uint64) error {
	left := leave(r)
	left.WriteID = rand.Text()
	marker, err := s.from.Save(ctx, left, version)
	if err == nil {
		// What stays in the history of the old store is erased again by
		// Move, should it fail now.
		_ = s.from.Erase(ctx, r.Key, marker)
		return nil
	}
	old, loadErr := s.from.Load(ctx, r.Key)
	switch {
	case loadErr != nil:
		return err
	case old.WriteID == left.WriteID:
		return nil // it was our own write, whose answer was lost
	case !hasLeft(old.Record, r):
		return err
	}
	// Another sidecar has done it: for this record, or for one that it has put
	// in its place.
	stored, err := s.to.Load(ctx, r.Key)
	if err != nil {
		return err
	}
	if stored.WriteID != r.WriteID {
		return fmt.Errorf("moving connection: %w", connection.ErrConflict)
	}
	return nil
}

// Erase implements [connection.Store].
func (s *Store) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	if err := s.to.Erase(ctx, key, keep); err != nil {
		return err
	}
	old, err := s.from.Load(ctx, key)
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !isMarker(old.Record) && old.Status != connection.StatusDisconnected:
		return nil
	}
	return s.from.Erase(ctx, key, old.Version)
}

// ID implements [connection.Store].
func (s *Store) ID(ctx context.Context, key connection.Key) (string, error) { return s.to.ID(ctx, key) }

// LoadSheet implements [connection.Ledger]. Sheets are those of the new store:
// their marks are made with its key, and who holds which grant is found out by
// listing, which has both.
func (s *Store) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	return s.to.LoadSheet(ctx, app, name)
}

// SaveSheet implements [connection.Ledger].
func (s *Store) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	return s.to.SaveSheet(ctx, app, name, text, based)
}

// Mark implements [connection.Ledger].
func (s *Store) Mark(ctx context.Context, app, text string) (string, error) {
	return s.to.Mark(ctx, app, text)
}

// CanSave implements [connection.SaveChecker]: a connection is written to both.
func (s *Store) CanSave(ctx context.Context, key connection.Key) error {
	for _, store := range []connection.Store{s.to, s.from} {
		if checker, ok := store.(connection.SaveChecker); ok {
			if err := checker.CanSave(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave is what stays of r in the old store.
func leave(r connection.Record) connection.Record {
	left := withoutMark(r)
	left.Claim, left.RefreshToken, left.UpdatedAt = nil, secret.Text{}, time.Now()
	if left.Status == connection.StatusDisconnected {
		return left
	}
	left.Status, left.Reason, left.ReasonAt = connection.StatusReauthRequired, ReasonMoved, time.Now()
	if left.Static {
		left.Static, left.IssuedAt, left.ExpiresAt = false, time.Now(), time.Now().Add(staticGrace)
	}
	return left
}

func isMarker(r connection.Record) bool {
	return r.Status == connection.StatusReauthRequired && r.Reason == ReasonMoved
}

// hasLeft reports whether old is what stays in the old store of r.
func hasLeft(old, r connection.Record) bool {
	return isMarker(old) || old.Status == connection.StatusDisconnected && r.Status == connection.StatusDisconnected
}

// moving returns the mark.
func moving(r connection.Record) (version uint64, ok bool) {
	text, ok := r.Extra[fieldMoving]
	if !ok {
		return 0, false
	}
	version, err := strconv.ParseUint(text, 10, 64)
	return version, err == nil
}

// toMove is a record of the old store, as one that would take the place of
// version in the new one.
func toMove(old connection.Versioned, version uint64) connection.Versioned {
	extra := maps.Clone(old.Extra)
	if extra == nil {
		extra = make(map[string]string, 1)
	}
	extra[fieldMoving] = strconv.FormatUint(old.Version, 10)
	old.Extra, old.Version = extra, version
	return old
}

func withoutMark(r connection.Record) connection.Record {
	if _, marked := r.Extra[fieldMoving]; !marked {
		return r
	}
	extra := maps.Clone(r.Extra)
	delete(extra, fieldMoving)
	if len(extra) == 0 {
		extra = nil
	}
	r.Extra = extra
	return r
}

func unmarked(v connection.Versioned) connection.Versioned {
	v.Record = withoutMark(v.Record)
	return v
}

// Interface guards
var (
	_ connection.Store       = (*Store)(nil)
	_ connection.SaveChecker = (*Store)(nil)
)
