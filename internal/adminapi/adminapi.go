// Package adminapi has the paths, questions and answers of the endpoints that
// the sidecar adds to Caddy's admin API. The module that serves them and the
// commands that ask it go by the same.
package adminapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/journal"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sunset"
)

// Paths of the endpoints. Connections and Tags have more behind them: an app,
// and a user; see [ConnectionPath] and [TagPath].
const (
	Live        = "/hubspot/live"
	Ready       = "/hubspot/ready"
	StatusPath  = "/hubspot/status"
	Connections = "/hubspot/connections"
	Freezes     = "/hubspot/freezes"
	Tags        = "/hubspot/tags"
)

// Sizes of a page of connections.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// ConnectionPath is the path of a connection. Dots are encoded too: a segment
// of dots only would not arrive.
func ConnectionPath(app, user string) string {
	escaped := strings.ReplaceAll(url.PathEscape(user), ".", "%2E")
	return Connections + "/" + url.PathEscape(app) + "/" + escaped
}

// TagPath is where an app's tag of a user is asked for.
func TagPath(app string) string { return Tags + "/" + url.PathEscape(app) }

// Liveness is the answer of [Live].
type Liveness struct {
	Status string `json:"status"`
}

// Alive says that the process serves.
func Alive() Liveness { return Liveness{Status: "ok"} }

// Readiness is the answer of [Ready].
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
	// Warnings are of what an operator has to look at while all is served.
	Warnings []string `json:"warnings,omitempty"`
}

// Stopping says that no new work should come, because the end is near.
func Stopping() Readiness { return Readiness{Reasons: []string{"stopping"}} }

// StatusCode is the HTTP status of the answer.
func (r Readiness) StatusCode() int {
	if r.Ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// Status is the answer of [StatusPath]. It names no user.
type Status struct {
	Store     StoreStatus    `json:"store"`
	Endpoints EndpointStatus `json:"endpoints"`
	Apps      []AppStatus    `json:"apps"`
	Callers   []string       `json:"callers"`
	Freezes   FreezeStatus   `json:"freezes"`
	// Audit is nil without an audit log.
	Audit *AuditStatus `json:"audit,omitempty"`
	// Endings are calls to endpoints that HubSpot ends within a year or has
	// ended, since the process began; the nearest end first.
	Endings []Ending `json:"endings,omitempty"`
	// Settings is nil if all files that settings are read from are in use as
	// they are.
	Settings *SettingsStatus `json:"settings,omitempty"`
}

// SettingsStatus is about the files that settings are read from.
type SettingsStatus struct {
	// Problem says why what the files hold now is not used, but what they held
	// before.
	Problem string `json:"problem"`
}

// StoreStatus is about the connection store.
type StoreStatus struct {
	Type  string `json:"type"`
	Ready bool   `json:"ready"`
	// Problem says why the store is not ready.
	Problem string `json:"problem,omitempty"`
}

// EndpointStatus says where HubSpot is.
type EndpointStatus struct {
	API       string `json:"api"`
	Authorize string `json:"authorize"`
	Version   string `json:"version"`
}

// AppStatus is about a HubSpot app.
type AppStatus struct {
	Name        string `json:"name"`
	RedirectURI string `json:"redirectUri"`
	// PendingWrites are connections whose newest tokens are in memory only.
	PendingWrites int `json:"pendingWrites"`
	// Disconnecting are users who were disconnected here and not yet at
	// HubSpot, as the store said some seconds ago; MoreDisconnecting says that
	// there are others beside them, too many to be counted.
	Disconnecting     int  `json:"disconnecting"`
	MoreDisconnecting bool `json:"moreDisconnecting,omitempty"`
	// RefreshBudget is what this process may ask of HubSpot's token endpoint.
	RefreshBudget RefreshBudget `json:"refreshBudget"`
	// Rotation is nil unless the app has two client secrets.
	Rotation *Rotation `json:"rotation,omitempty"`
	// Journal is nil for an app whose webhooks journal is not read.
	Journal *journal.Status `json:"journal,omitempty"`
	// Alarms that last, by their reasons.
	Alarms map[string]AlarmSince `json:"alarms,omitempty"`
}

// RefreshBudget is about the pace of an app's refreshes.
type RefreshBudget struct {
	// PerSecond is how many refreshes there may be in a second now, and
	// Ceiling how many there can be at the most.
	PerSecond float64 `json:"perSecond"`
	Ceiling   float64 `json:"ceiling"`
	// Waiting are the refreshes that wait for their turn.
	Waiting int `json:"waiting"`
	// HeldUntil is until when HubSpot asked to be left alone.
	HeldUntil time.Time `json:"heldUntil,omitzero"`
}

// Rotation tells whether the old one of two client secrets can go.
type Rotation struct {
	// CountedSince is when this process began to look.
	CountedSince time.Time `json:"countedSince"`
	// Secrets are the two by the settings that they stand in now.
	Secrets map[string]SecretUse `json:"secrets"`
}

// SecretUse says when this process last needed a client secret, and what for.
type SecretUse struct {
	// LastNeeded is zero, and left out, if it was not.
	LastNeeded time.Time                       `json:"lastNeeded,omitzero"`
	For        map[secretuse.Purpose]time.Time `json:"for,omitempty"`
}

// AlarmSince says since when an alarm lasts.
type AlarmSince struct {
	Since time.Time `json:"since"`
}

// Ending says who calls what although HubSpot ends it.
type Ending struct {
	App string `json:"app"`
	// Caller is empty for calls without a key.
	Caller string `json:"caller"`
	// Family is a pattern of paths, and What names it in words.
	Family string `json:"family"`
	What   string `json:"what"`
	// Ends is a day, or a month where HubSpot names no day.
	Ends     string `json:"ends"`
	DaysLeft int    `json:"daysLeft"`
	// Effect is error, partial or unsupported.
	Effect sunset.Effect `json:"effect"`
	// Instead is what HubSpot offers, Source its page.
	Instead  string    `json:"instead,omitempty"`
	Source   string    `json:"source"`
	Calls    uint64    `json:"calls"`
	LastCall time.Time `json:"lastCall"`
}

// FreezeStatus is about what is frozen.
type FreezeStatus struct {
	Count   int       `json:"count"`
	Known   bool      `json:"known"`
	ReadAt  time.Time `json:"readAt,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// AuditStatus is about the audit log. Its head is kept elsewhere to show later
// that no line behind it was cut off.
type AuditStatus struct {
	File string     `json:"file"`
	Head audit.Head `json:"head"`
	// Lost are calls that went on without a line.
	Lost uint64 `json:"lost"`
	// Problem says why no lines can be written at the moment.
	Problem string `json:"problem,omitempty"`
}

// FreezeOrder is the body of a request to freeze or to lift. It is a body for
// both: Caddy logs the addresses of requests, and users must not be in logs.
type FreezeOrder struct {
	freeze.Selector
	// All says that nothing narrows the selector on purpose.
	All    bool   `json:"all,omitempty"`
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// FreezeList is the answer of [Freezes].
type FreezeList struct {
	// Error says why nothing was done.
	Error   string          `json:"error,omitempty"`
	Freezes []freeze.Freeze `json:"freezes"`
	// ReadAt is when the store last confirmed the list.
	ReadAt time.Time `json:"readAt,omitzero"`
	// Problem says why this sidecar cannot follow the list.
	Problem string `json:"problem,omitempty"`
}

// TagQuestion names the user whose tag is asked for. It comes in a body
// because Caddy logs the paths of the admin API.
type TagQuestion struct {
	User string `json:"userForeignIdentifier"`
}

// TagAnswer has the tag by which logs and the audit log know a user.
type TagAnswer struct {
	UserTag string `json:"userTag"`
}
