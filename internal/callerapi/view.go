package callerapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// View is how callers and the admin API are shown a connection. It holds no
// token.
type View struct {
	User          string            `json:"userForeignIdentifier"`
	HubID         int64             `json:"hubId"`
	HubUserID     int64             `json:"hubUserId,omitempty"`
	Status        connection.Status `json:"status"`
	Scopes        []string          `json:"scopes"`
	MissingScopes []string          `json:"missingScopes,omitempty"`
	ConnectedAt   time.Time         `json:"connectedAt"`
	ExpiresAt     time.Time         `json:"expiresAt,omitzero"`
	Reason        string            `json:"reason,omitempty"`
	ReasonAt      time.Time         `json:"reasonAt,omitzero"`
	// Alarm and AlarmSince are those of [connection.Summary]; a list has none.
	Alarm      string    `json:"alarm,omitempty"`
	AlarmSince time.Time `json:"alarmSince,omitzero"`
	// Links has reconnect for a connection that needs it: an install link for
	// what the user had granted.
	Links map[string]string `json:"links,omitempty"`
	// Receipt is what was done so far of a disconnect that is under way.
	Receipt *Receipt `json:"receipt,omitempty"`
}

// NewView makes a View.
func NewView(s connection.Summary) View {
	view := View{
		User: s.User, HubID: s.HubID, HubUserID: s.HubUserID, Status: s.Status,
		Scopes: s.Scopes, MissingScopes: s.MissingScopes,
		ConnectedAt: s.ConnectedAt, ExpiresAt: s.ExpiresAt,
		Reason: s.Reason, ReasonAt: s.ReasonAt,
		Alarm: s.Alarm, AlarmSince: s.AlarmSince,
	}
	if s.Receipt != nil {
		receipt := NewReceipt(*s.Receipt)
		view.Receipt = &receipt
	}
	if view.Scopes == nil {
		view.Scopes = []string{} // [] rather than null
	}
	return view
}

// Offer adds what a function makes as the link with which the user of a
// connection reconnects, if it needs that. The function may make none.
func (v *View) Offer(link func(user string, granted []string) string) {
	if v.Status != connection.StatusReauthRequired {
		return
	}
	if reconnect := link(v.User, v.Scopes); reconnect != "" {
		v.Links = map[string]string{"reconnect": reconnect}
	}
}

// Page is a page of connections, in HubSpot's own way of paging.
type Page struct {
	Results []View `json:"results"`
	// Paging is nil on the last page.
	Paging *Paging `json:"paging,omitempty"`
}

// Paging says how to go on.
type Paging struct {
	Next struct {
		After string `json:"after"`
	} `json:"next"`
}

// Offer is [View.Offer] for all of a page.
func (p *Page) Offer(link func(user string, granted []string) string) {
	for i := range p.Results {
		p.Results[i].Offer(link)
	}
}

// ErrNoSuchStatus means that connections are not listed by that status.
var ErrNoSuchStatus = errors.New("connections are not listed by that status")

// checkStatus refuses what is neither empty nor a status to list by.
func checkStatus(status string) error {
	if status == "" || slices.Contains(connection.ListedStatuses(), connection.Status(status)) {
		return nil
	}
	return fmt.Errorf("%w; there are %q", ErrNoSuchStatus, connection.ListedStatuses())
}

// ListStatus lists the connections of an app, all or those with a status that
// somebody has asked for; empty is all. It fails as the Manager's methods do, or
// with [ErrNoSuchStatus].
func ListStatus(ctx context.Context, m *connection.Manager, after string, limit int, status string, visible func(string) bool) ([]connection.Summary, string, error) {
	if err := checkStatus(status); err != nil {
		return nil, "", err
	}
	if status == "" {
		return m.List(ctx, after, limit, visible)
	}
	return m.ListStatus(ctx, after, limit, connection.Status(status), visible)
}

// NewPage makes a page; next is the cursor to go on with, empty at the end.
func NewPage(summaries []connection.Summary, next string) Page {
	page := Page{Results: make([]View, 0, len(summaries))}
	for _, s := range summaries {
		page.Results = append(page.Results, NewView(s))
	}
	if next != "" {
		page.Paging = new(Paging)
		page.Paging.Next.After = next
	}
	return page
}
