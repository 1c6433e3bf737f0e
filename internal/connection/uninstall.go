package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// ReasonUninstalled is the reason of a connection's status after HubSpot has
// told that the app was removed from its portal.
const ReasonUninstalled = "uninstalled"

// clockMargin is how far HubSpot's clock and that of the machine which stored an
// install may be apart: where the install is that close to an uninstall, HubSpot
// is asked which came last.
const clockMargin = 2 * time.Minute

// GrantChecker is what a [Provider] is beside if it can ask HubSpot whether a
// grant works, without using it.
type GrantChecker interface {
	GrantWorks(ctx context.Context, refreshToken secret.Text) (bool, error)
}

// Uninstalled is called when HubSpot tells that the app was removed from a
// portal at a time by HubSpot's clock. The connection of user then requires
// another install, for [ReasonUninstalled], unless it is of another portal, was
// connected after that time, or does not stand any more. It reports whether it
// was this call that has changed the connection. In any case, what the store has
// of it is known in this process afterwards. Calling it again does no harm.
//
// Errors wrap ErrUnavailable, ErrDenied or ErrCorrupt, or ErrTokenUnavailable
// where an install was so close to that time that HubSpot has to say which came
// last, and does not.
func (m *Manager) Uninstalled(ctx context.Context, user string, hubID int64, at time.Time) (bool, error) {
	e := m.cache.getOrAdd(user)
	for {
		stored, err := m.config.Store.Load(ctx, m.key(user))
		switch {
		case errors.Is(err, ErrNotFound):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("loading connection: %w", err)
		case stored.Status != StatusActive && stored.Status != StatusReauthRequired, stored.HubID != hubID, stored.Reason == ReasonUninstalled:
			m.adopt(e, stored)
			return false, nil
		}
		ended, err := m.ended(ctx, stored.Record, at)
		if err != nil || !ended {
			m.adopt(e, stored)
			return false, err
		}
		next := stored.Record
		next.Status, next.Reason, next.ReasonAt = StatusReauthRequired, ReasonUninstalled, time.Now()
		next.Claim = nil
		// HubSpot takes it no more, unlike that of a grant that was revoked.
		next.AccessToken = secret.Text{}
		saved, err := m.put(ctx, next, stored.Version)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("writing the status down: %w", err)
		}
		e.drop() // tokens of before that were to be written
		m.adopt(e, saved)
		if stored.Status != StatusActive {
			return false, nil // only the reason is another one
		}
		m.troubleOver(e, next)
		m.emitFor(next, Event{Kind: EventReauthRequired, Reason: next.Reason})
		return true, nil
	}
}

// ended reports whether an uninstall has ended the grant of r.
func (m *Manager) ended(ctx context.Context, r Record, at time.Time) (bool, error) {
	switch {
	case r.ConnectedAt.After(at.Add(clockMargin)):
		return false, nil
	case r.ConnectedAt.Before(at.Add(-clockMargin)):
		return true, nil
	}
	checker, ok := m.config.Provider.(GrantChecker)
	if !ok {
		return r.ConnectedAt.Before(at), nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.config.Lease/3)
	defer cancel()
	works, err := checker.GrantWorks(ctx, r.RefreshToken)
	if err != nil {
		return false, fmt.Errorf("%w: asking whether the grant works: %w", ErrTokenUnavailable, err)
	}
	return !works, nil
}

// UsersOf returns the users whose active connections to a portal are in memory;
// portal 0 stands for every portal.
func (m *Manager) UsersOf(hubID int64) (users []string) {
	for e, v := range m.cache.all() {
		if v.Status == StatusActive && !v.missing && (hubID == 0 || v.HubID == hubID) {
			users = append(users, e.user)
		}
	}
	return users
}

// Reread makes known in this process what the store has of a user's connection.
// Errors are those of [Manager.Uninstalled].
func (m *Manager) Reread(ctx context.Context, user string) error {
	stored, err := m.config.Store.Load(ctx, m.key(user))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("loading connection: %w", err)
	}
	m.adopt(m.cache.getOrAdd(user), stored)
	return nil
}
