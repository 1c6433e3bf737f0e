package caddymodule

import (
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// connectionView is how callers and the admin API are shown a connection.
type connectionView struct {
	User          string            `json:"userForeignIdentifier"`
	HubID         int64             `json:"hubId"`
	Status        connection.Status `json:"status"`
	Scopes        []string          `json:"scopes"`
	MissingScopes []string          `json:"missingScopes,omitempty"`
	ConnectedAt   time.Time         `json:"connectedAt"`
	ExpiresAt     time.Time         `json:"expiresAt,omitzero"`
	Reason        string            `json:"reason,omitempty"`
	ReasonAt      time.Time         `json:"reasonAt,omitzero"`
}

func showConnection(s connection.Summary) connectionView {
	view := connectionView{
		User: s.User, HubID: s.HubID, Status: s.Status,
		Scopes: s.Scopes, MissingScopes: s.MissingScopes,
		ConnectedAt: s.ConnectedAt, ExpiresAt: s.ExpiresAt,
		Reason: s.Reason, ReasonAt: s.ReasonAt,
	}
	if view.Scopes == nil {
		view.Scopes = []string{} // [] rather than null
	}
	return view
}

// connectionPage is a page of connections, in HubSpot's own way of paging.
type connectionPage struct {
	Results []connectionView  `json:"results"`
	Paging  *connectionPaging `json:"paging,omitempty"`
}

type connectionPaging struct {
	Next struct {
		After string `json:"after"`
	} `json:"next"`
}

// newConnectionPage makes a page; next is the cursor to go on with, if any.
func newConnectionPage(summaries []connection.Summary, next string) connectionPage {
	page := connectionPage{Results: make([]connectionView, 0, len(summaries))}
	for _, s := range summaries {
		page.Results = append(page.Results, showConnection(s))
	}
	if next != "" {
		page.Paging = new(connectionPaging)
		page.Paging.Next.After = next
	}
	return page
}
