package connection

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Summary is what may be shown of a connection. It holds no token.
type Summary struct {
	User  string
	HubID int64
	// HubUserID is whose grant it is, of a user-level app; otherwise zero.
	HubUserID     int64
	Scopes        []string
	MissingScopes []string
	Status        Status
	ConnectedAt   time.Time
	// ExpiresAt is the end of the access token's life.
	ExpiresAt time.Time
	// Reason and ReasonAt say why and since when Status is what it is.
	Reason   string
	ReasonAt time.Time
	// Alarm and AlarmSince say what HubSpot holds against this connection
	// alone, as this process has seen it: see [EventConnectionAlarm]. They
	// are empty in a listing.
	Alarm      string
	AlarmSince time.Time
	// Receipt is what was done so far of the disconnect that is under way, or
	// nil.
	Receipt *Receipt
}

func (r Record) summary() Summary {
	var receipt *Receipt
	if r.Status == StatusDisconnecting {
		receipt = r.receipt()
	}
	return Summary{
		Receipt:       receipt,
		User:          r.User,
		HubID:         r.HubID,
		HubUserID:     r.HubUserID,
		Scopes:        r.Scopes,
		MissingScopes: r.MissingScopes,
		Status:        r.Status,
		ConnectedAt:   r.ConnectedAt,
		ExpiresAt:     r.ExpiresAt,
		Reason:        r.Reason,
		ReasonAt:      r.ReasonAt,
	}
}

// Get returns the connection of user as the store has it. Errors wrap
// ErrNotConnected, ErrUnavailable, ErrDenied or ErrCorrupt.
func (m *Manager) Get(ctx context.Context, user string) (Summary, error) {
	stored, err := m.config.Store.Load(ctx, m.key(user))
	switch {
	case errors.Is(err, ErrNotFound):
		return Summary{}, ErrNotConnected
	case err != nil:
		return Summary{}, fmt.Errorf("loading connection: %w", err)
	case stored.Status == StatusDisconnected:
		return Summary{}, ErrNotConnected
	}
	e := m.cache.get(user)
	if e == nil {
		return stored.summary(), nil
	}
	summary := m.adopt(e, stored).summary()
	summary.Alarm, summary.AlarmSince = e.alarm()
	return summary, nil
}

// List returns up to limit connections of the app for which visible returns
// true, from the one after the cursor, and the cursor to go on with, which is
// empty at the end. Disconnected ones are not listed.
func (m *Manager) List(ctx context.Context, cursor string, limit int, visible func(user string) bool) ([]Summary, string, error) {
	found := make([]Summary, 0, limit)
	for len(found) < limit {
		// Asking for what is missing only keeps the cursor exact: it always
		// stands behind the last connection that was returned or hidden.
		page, err := m.config.Store.List(ctx, m.config.App, cursor, limit-len(found))
		if err != nil {
			return nil, "", fmt.Errorf("listing connections: %w", err)
		}
		for _, stored := range page.Records {
			if stored.Status != StatusDisconnected && visible(stored.User) {
				found = append(found, stored.summary())
			}
		}
		cursor = page.Next
		if cursor == "" {
			break
		}
	}
	return found, cursor, nil
}

// ListedStatuses are those that [Manager.ListStatus] can be asked for.
func ListedStatuses() []Status {
	return []Status{StatusActive, StatusReauthRequired, StatusDisconnecting}
}

// maxLooked is how many records one call of ListStatus looks at while it finds
// nothing.
const maxLooked = 1000

// ListStatus is [Manager.List] for the connections with a status. A page may
// hold fewer than limit, or none, and be followed by others: what has the status
// is mostly rare, and to find it every record is read.
func (m *Manager) ListStatus(ctx context.Context, cursor string, limit int, status Status, visible func(user string) bool) ([]Summary, string, error) {
	var found []Summary
	for looked := 0; len(found) == 0 && looked < maxLooked; looked += limit {
		page, err := m.config.Store.List(ctx, m.config.App, cursor, limit)
		if err != nil {
			return nil, "", fmt.Errorf("listing connections: %w", err)
		}
		for _, stored := range page.Records {
			if stored.Status == status && visible(stored.User) {
				found = append(found, stored.summary())
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return found, cursor, nil
}
