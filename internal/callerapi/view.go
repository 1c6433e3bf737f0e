package callerapi

import (
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
	if view.Scopes == nil {
		view.Scopes = []string{} // [] rather than null
	}
	return view
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
