package connection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Install is what the end of an OAuth install brings.
type Install struct {
	User  string
	Grant hubspot.Grant
	// IssuedAt is the time before HubSpot was asked for the grant, from
	// which the access token's life counts. Zero means now.
	IssuedAt time.Time
	// Asked are all scopes that were asked for, to tell which are missing.
	Asked []string
	// Nonce is the one-time value of the install's state, and NonceUntil
	// the time from which the state would be refused as expired anyway.
	Nonce      string
	NonceUntil time.Time
	// HubUserID is the HubSpot user whose grant it is, for a user-level app:
	// the connection is pinned to that person. Zero pins it to the portal only.
	HubUserID int64
	// AllowPortalChange lets the connection move to another portal, or person.
	AllowPortalChange bool
}

// maxNonces bounds the used nonces of one connection. They live ten minutes,
// so only somebody who installs on purpose again and again gets there.
const maxNonces = 64

// CanConnect returns nil, or why the store would not take a connection of the
// user, as far as it can tell: to be asked before a code is spent, which works
// only once.
func (m *Manager) CanConnect(ctx context.Context, user string) error {
	checker, ok := m.config.Store.(SaveChecker)
	if !ok {
		return nil
	}
	return checker.CanSave(ctx, m.key(user))
}

// StateUsed reports whether the state with this nonce was redeemed before.
// Connect decides that for good; asking first saves a call to HubSpot.
func (m *Manager) StateUsed(ctx context.Context, user, nonce string) (bool, error) {
	stored, err := m.config.Store.Load(ctx, m.key(user))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("loading connection: %w", err)
	}
	_, used := stored.UsedNonces[nonce]
	return used, nil
}

// Connect stores the grant of an install, new or again, and uses up its
// state by the same write. Errors wrap ErrStateUsed, ErrPortalChange,
// ErrPersonChange, ErrUnavailable, ErrDenied or ErrCorrupt; after any of them nothing has
// changed.
func (m *Manager) Connect(ctx context.Context, install Install) (Summary, error) {
	for {
		stored, err := m.config.Store.Load(ctx, m.key(install.User))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Summary{}, fmt.Errorf("loading connection: %w", err)
		}
		next, err := m.installed(stored.Record, install)
		if err != nil {
			return Summary{}, err
		}
		saved, err := m.put(ctx, next, stored.Version)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return Summary{}, fmt.Errorf("storing connection: %w", err)
		}
		m.connected(ctx, stored, saved)
		return saved.summary(), nil
	}
}

// installed is the record after an install on top of old, which may be the
// zero Record.
func (m *Manager) installed(old Record, install Install) (Record, error) {
	now := time.Now()
	nonces := maps.Clone(old.UsedNonces)
	maps.DeleteFunc(nonces, func(_ string, until time.Time) bool { return now.After(until) })
	if _, used := nonces[install.Nonce]; used || len(nonces) >= maxNonces {
		return Record{}, ErrStateUsed
	}
	if nonces == nil {
		nonces = make(map[string]time.Time, 1)
	}
	nonces[install.Nonce] = install.NonceUntil

	grant, issued := install.Grant, install.IssuedAt
	if issued.IsZero() {
		issued = now
	}
	pinned := old.Status == StatusActive || old.Status == StatusReauthRequired
	if pinned && old.HubID != grant.HubID && !install.AllowPortalChange {
		return Record{}, ErrPortalChange
	}
	if pinned && otherPerson(old, install.HubUserID) && !install.AllowPortalChange {
		return Record{}, ErrPersonChange
	}
	return Record{
		Key:           m.key(install.User),
		Status:        StatusActive,
		HubID:         grant.HubID,
		HubUserID:     install.HubUserID,
		Scopes:        grant.Scopes,
		MissingScopes: missing(install.Asked, grant.Scopes),
		Generation:    rand.Text(),
		Rotates:       old.Rotates,
		AccessToken:   grant.AccessToken,
		RefreshToken:  grant.RefreshToken,
		IssuedAt:      issued,
		ExpiresAt:     issued.Add(grant.ExpiresIn),
		ConnectedAt:   now,
		UsedNonces:    nonces,
		Extra:         old.Extra,
	}, nil
}

func missing(asked, granted []string) []string {
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return slices.Contains(granted, scope) })
}

// connected makes a stored install known in this process.
func (m *Manager) connected(ctx context.Context, old, saved Versioned) {
	e := m.cache.getOrAdd(saved.User)
	e.drop()
	m.adopt(e, saved)
	m.emitFor(saved.Record, Event{Kind: EventConnected})
	m.healed(old.Record, saved.Record)
	if m.sharesPortal(saved.Record) {
		m.emitFor(saved.Record, Event{Kind: EventPortalShared})
	}
	if old.HubID != 0 && old.HubID != saved.HubID || otherPerson(old.Record, saved.HubUserID) {
		// The old portal's or person's tokens are nobody's business any more. The new
		// ones are stored: failing now would be a lie.
		_ = m.config.Store.Erase(ctx, saved.Key, saved.Version)
	}
}

// drop forgets what was to be written and what failed before: the
// connection begins anew.
func (e *entry) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending, e.failures, e.failure, e.retryAt = nil, 0, nil, time.Time{}
}

// sharesPortal reports whether another user known to this process is
// connected to the same portal, as the same person where it is of one.
func (m *Manager) sharesPortal(r Record) bool {
	for e, v := range m.cache.all() {
		if e.user != r.User && v.Status == StatusActive && v.HubID == r.HubID && v.HubUserID == r.HubUserID {
			return true
		}
	}
	return false
}

// Disconnect ends a connection: the grant is revoked at HubSpot, a tombstone
// takes the record's place, and every older version of it is destroyed.
// Where another user known to this process holds the same refresh token, as
// users of one portal can, the grant is not revoked.
//
// Errors wrap ErrNotConnected, ErrAppMisconfigured, ErrTokenUnavailable
// (HubSpot did not answer), ErrUnavailable, ErrDenied or ErrCorrupt; until the
// grant is revoked nothing has changed, after that the call can be repeated.
func (m *Manager) Disconnect(ctx context.Context, user string) error {
	revoked := false
	for {
		stored, err := m.config.Store.Load(ctx, m.key(user))
		switch {
		case errors.Is(err, ErrNotFound):
			return ErrNotConnected
		case err != nil:
			return fmt.Errorf("loading connection: %w", err)
		case stored.Status == StatusDisconnected:
			m.forget(stored)
			if err := m.config.Store.Erase(ctx, stored.Key, stored.Version); err != nil {
				return fmt.Errorf("destroying earlier versions: %w", err)
			}
			return ErrNotConnected
		}
		if !revoked {
			if err := m.revoke(ctx, stored.Record); err != nil {
				return err
			}
			revoked = true
		}
		saved, err := m.put(ctx, tombstone(stored.Record), stored.Version)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("storing disconnect: %w", err)
		}
		m.forget(saved)
		m.emitFor(saved.Record, Event{Kind: EventDisconnected})
		if err := m.config.Store.Erase(ctx, saved.Key, saved.Version); err != nil {
			return fmt.Errorf("destroying earlier versions: %w", err)
		}
		return nil
	}
}

// tombstone is what remains of a connection: who it was, and the nonces that
// may not be used again. The time of the install stays so that a late reading
// of the old record is known to be late.
func tombstone(r Record) Record {
	return Record{
		Key:         r.Key,
		Status:      StatusDisconnected,
		HubID:       r.HubID,
		HubUserID:   r.HubUserID,
		ConnectedAt: r.ConnectedAt,
		Reason:      "disconnected",
		ReasonAt:    time.Now(),
		UsedNonces:  r.UsedNonces,
		Extra:       r.Extra,
	}
}

// forget takes a tombstone over into memory.
func (m *Manager) forget(saved Versioned) {
	e := m.cache.getOrAdd(saved.User)
	e.drop()
	m.troubleOver(e, saved.Record)
	e.view.Store(&view{Versioned: saved, readAt: time.Now()})
	m.keepCopy(e, saved)
}

func (m *Manager) revoke(ctx context.Context, r Record) error {
	if r.RefreshToken.IsZero() || m.sharesGrant(r) {
		return nil
	}
	err := m.config.Provider.Revoke(ctx, r.RefreshToken)
	switch class := hubspot.Classify(err); {
	case err == nil, class == hubspot.ClassDeadGrant:
		return nil
	case class == hubspot.ClassMisconfigured:
		return fmt.Errorf("revoking the grant: %w: %w", ErrAppMisconfigured, err)
	}
	return fmt.Errorf("revoking the grant: %w: %w", ErrTokenUnavailable, err)
}

// sharesGrant reports whether another user known to this process holds the
// same refresh token.
func (m *Manager) sharesGrant(r Record) bool {
	for e, v := range m.cache.all() {
		if e.user != r.User && !v.RefreshToken.IsZero() && v.RefreshToken.Equal(r.RefreshToken) {
			return true
		}
	}
	return false
}
