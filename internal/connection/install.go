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
// state by the same write. Before that it has the ledger know who stands on
// the grant, so that no other connection's end revokes it. Errors wrap
// ErrStateUsed, ErrPortalChange, ErrPersonChange, ErrGrantEnded,
// ErrUnavailable, ErrDenied or ErrCorrupt; after any of them nothing has
// changed.
func (m *Manager) Connect(ctx context.Context, install Install) (Summary, error) {
	var held *standing
	generation := rand.Text()
	for {
		stored, err := m.config.Store.Load(ctx, m.key(install.User))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Summary{}, fmt.Errorf("loading connection: %w", err)
		}
		next, err := m.installed(stored.Record, install)
		if err != nil {
			return Summary{}, err
		}
		next.Generation = generation
		if held == nil {
			if held, err = m.standOn(ctx, next); err != nil {
				return Summary{}, err
			}
		}
		saved, err := m.put(ctx, m.stood(ctx, next, stored.Record, held), stored.Version)
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

// standing is what a connection that is about to be stored stands on.
type standing struct {
	// marks are those of its grant and of its portal.
	marks []string
	// fresh has the tokens that HubSpot gave when it was asked whether the
	// grant is still there; nil if there was no doubt.
	fresh *Record
}

// standOn makes a connection that is about to be stored a holder of its grant
// and of its portal. Where the grant was just being revoked, or the app
// uninstalled, HubSpot is asked if it is still there.
func (m *Manager) standOn(ctx context.Context, next Record) (*standing, error) {
	marks, err := m.marksOf(ctx, next)
	if err != nil {
		return nil, fmt.Errorf("writing down who holds the grant: %w", err)
	}
	doubtful := false
	for _, mark := range marks {
		doubt, err := m.hold(ctx, mark, next)
		if err != nil {
			return nil, fmt.Errorf("writing down who holds the grant: %w", err)
		}
		doubtful = doubtful || doubt
	}
	held := &standing{marks: marks}
	if !doubtful || next.RefreshToken.IsZero() {
		return held, nil
	}
	begun := time.Now()
	grant, err := m.config.Provider.Refresh(ctx, next.RefreshToken)
	switch {
	case hubspot.Classify(err) == hubspot.ClassDeadGrant:
		m.letGo(ctx, next.Generation, marks...)
		return nil, fmt.Errorf("%w: %w", ErrGrantEnded, err)
	case err == nil && checkPortal(next, grant) == nil:
		fresh := refreshed(next, grant, begun, "")
		held.fresh = &fresh
	}
	return held, nil // what is wrong otherwise shows at the next refresh
}

// stood is the record of a connection that stands on what held says, in the
// place of old.
func (m *Manager) stood(ctx context.Context, next, old Record, held *standing) Record {
	if held.fresh != nil {
		next.AccessToken, next.RefreshToken = held.fresh.AccessToken, held.fresh.RefreshToken
		next.IssuedAt, next.ExpiresAt = held.fresh.IssuedAt, held.fresh.ExpiresAt
		next.Scopes, next.Rotates = held.fresh.Scopes, held.fresh.Rotates
	}
	next.Endings = m.endingsLeft(ctx, old, held.marks)
	return next
}

// endingsLeft are the disconnects of a record that have to be finished although
// the user has connected again: not those of what the new connection stands on.
func (m *Manager) endingsLeft(ctx context.Context, old Record, held []string) []Ending {
	var left []Ending
	for _, e := range old.Endings {
		grant, err := m.grantMark(ctx, e.Token)
		if e.Revoked == OutcomePending && (err != nil || slices.Contains(held, grant)) {
			e.Revoked = OutcomeShared
		}
		portal, err := m.portalMark(ctx, e.HubID)
		if e.Uninstalled == OutcomePending && (err != nil || slices.Contains(held, portal)) {
			e.Uninstalled = OutcomeShared
		}
		if e.pending() {
			left = append(left, e.settled())
		}
	}
	return left
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
	if old.Version > 0 {
		m.replaced(old.Record)
	}
	if old.HubID != 0 && old.HubID != saved.HubID || otherPerson(old.Record, saved.HubUserID) {
		// The old portal's or person's tokens are nobody's business any more. The new
		// ones are stored: failing now would be a lie.
		_ = m.config.Store.Erase(ctx, saved.Key, saved.Version)
	}
}

// replaced has the ledger forget the connection that an install has replaced,
// so that it does not look like another holder of the same grant, and tells
// other processes of the new one.
func (m *Manager) replaced(old Record) {
	ctx, cancel := context.WithTimeout(m.ctx, m.config.Lease/3)
	defer cancel()
	for _, e := range old.Endings {
		m.leaveAll(ctx, e.Generation, Record{HubID: e.HubID, RefreshToken: e.Token, Grants: e.Grants})
	}
	m.leaveAll(ctx, old.Generation, old)
	done := m.work.add()
	go func() {
		defer done()
		ctx, cancel := context.WithTimeout(m.ctx, m.config.Lease)
		defer cancel()
		m.tellChange(ctx, old.User)
	}()
}

// leaveAll has the ledger forget a connection by all that is known of it.
func (m *Manager) leaveAll(ctx context.Context, generation string, r Record) {
	if generation == "" {
		return
	}
	if marks, err := m.marksOf(ctx, r); err == nil {
		m.letGo(ctx, generation, marks...)
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
