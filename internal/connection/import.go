package connection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// ErrDisconnected means that an import was refused because the user was
// disconnected here: what somebody has ended does not come back by itself.
var ErrDisconnected = errors.New("user was disconnected")

// Import is a connection that was made elsewhere. Whoever gives it to the
// Manager has asked HubSpot whether it is what it says.
type Import struct {
	User  string
	HubID int64
	// HubUserID is the HubSpot user whose grant it is, for a user-level app;
	// otherwise zero.
	HubUserID int64
	// Scopes are the granted ones, Asked those of the app's settings.
	Scopes, Asked []string
	RefreshToken  secret.Text
	// AccessToken may be empty: the first use gets one. IssuedAt and
	// ExpiresAt bound its life.
	AccessToken         secret.Text
	IssuedAt, ExpiresAt time.Time
	// Static says that AccessToken is the token of a static app; there is no
	// RefreshToken then.
	Static bool
	// Overwrite lets it take the place of a live connection and of one that
	// was disconnected.
	Overwrite bool
}

// CanImport reports whether Import would store a connection that has what is
// set in i, which needs no more than the user and the token: false without an
// error means that there is one already. Errors are those of Import.
func (m *Manager) CanImport(ctx context.Context, i Import) (bool, error) {
	stored, err := m.config.Store.Load(ctx, m.key(i.User))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("loading connection: %w", err)
	}
	return i.goesOver(stored.Record)
}

// goesOver reports whether the import is to take the place of old, which may
// be the zero Record. One that has ended at HubSpot's side is replaced: that is
// what another grant for its user is for.
func (i Import) goesOver(old Record) (bool, error) {
	switch old.Status {
	case StatusDisconnected, StatusDisconnecting:
		if !i.Overwrite {
			return false, ErrDisconnected
		}
		return true, nil
	case StatusActive:
		if !i.Overwrite || i.isOf(old) {
			return false, nil
		}
	case StatusReauthRequired:
	default:
		return true, nil
	}
	if i.HubID != 0 && old.HubID != 0 && old.HubID != i.HubID {
		return false, fmt.Errorf("%w: %d", ErrPortalChange, old.HubID)
	}
	if i.HubUserID != 0 && otherPerson(old, i.HubUserID) {
		return false, ErrPersonChange
	}
	return true, nil
}

// isOf reports whether old has what is imported.
func (i Import) isOf(old Record) bool {
	if i.Static {
		return old.Static && old.AccessToken.Equal(i.AccessToken)
	}
	return old.RefreshToken.Equal(i.RefreshToken)
}

// Import stores a connection that was made elsewhere. It reports false if there
// is one already, which stays as it is. Errors wrap ErrDisconnected,
// ErrPortalChange, ErrUnavailable, ErrDenied or ErrCorrupt; after any of them
// nothing has changed. As with an install, the ledger knows first who stands on
// the grant; [ErrGrantEnded] is an error of it too.
func (m *Manager) Import(ctx context.Context, i Import) (bool, error) {
	var held *standing
	generation := rand.Text()
	for {
		stored, err := m.config.Store.Load(ctx, m.key(i.User))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, fmt.Errorf("loading connection: %w", err)
		}
		if goes, err := i.goesOver(stored.Record); !goes {
			return false, err
		}
		next := m.imported(stored.Record, i)
		next.Generation = generation
		if held == nil {
			if held, err = m.standOn(ctx, next); err != nil {
				return false, err
			}
		}
		saved, err := m.put(ctx, m.stood(ctx, next, stored.Record, held), stored.Version)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("storing connection: %w", err)
		}
		// A file of many users must not push those out of memory who are
		// being served.
		if e := m.cache.get(i.User); e != nil {
			e.drop()
			m.adopt(e, saved)
		}
		if stored.Version > 0 {
			m.replaced(stored.Record)
		}
		m.emitFor(saved.Record, Event{Kind: EventConnected, Reason: ReasonImported})
		return true, nil
	}
}

// ReasonImported is the reason of the [EventConnected] of an import.
const ReasonImported = "imported"

// imported is the record of an import on top of old, which may be the zero
// Record.
func (m *Manager) imported(old Record, i Import) Record {
	return Record{
		Key:           m.key(i.User),
		Status:        StatusActive,
		HubID:         i.HubID,
		HubUserID:     i.HubUserID,
		Scopes:        i.Scopes,
		MissingScopes: missing(i.Asked, i.Scopes),
		Rotates:       old.Rotates,
		Static:        i.Static,
		AccessToken:   i.AccessToken,
		RefreshToken:  i.RefreshToken,
		IssuedAt:      i.IssuedAt,
		ExpiresAt:     i.ExpiresAt,
		ConnectedAt:   time.Now(),
		UsedNonces:    old.UsedNonces,
		Extra:         old.Extra,
	}
}
