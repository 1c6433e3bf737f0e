package callerapi

import (
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Receipt is how callers and the admin API are told what was done to
// disconnect a user.
type Receipt struct {
	User  string `json:"userForeignIdentifier"`
	HubID int64  `json:"hubId"`
	// Revoked is about the grant: done, shared or pending.
	Revoked connection.Outcome `json:"revoked"`
	// Uninstalled is about the app in the account: done, not_asked, shared,
	// pending or refused.
	Uninstalled connection.Outcome `json:"uninstalled"`
	Destroyed   bool               `json:"destroyed"`
	At          time.Time          `json:"at"`
}

// NewReceipt makes a Receipt.
func NewReceipt(r connection.Receipt) Receipt {
	return Receipt{
		User: r.User, HubID: r.HubID, Revoked: r.Revoked, Uninstalled: r.Uninstalled,
		Destroyed: r.Destroyed, At: r.At.UTC(),
	}
}

// StatusCode is 202 while something is pending, and 200 afterwards.
func (r Receipt) StatusCode() int {
	if r.Revoked == connection.OutcomePending || r.Uninstalled == connection.OutcomePending || !r.Destroyed {
		return http.StatusAccepted
	}
	return http.StatusOK
}
