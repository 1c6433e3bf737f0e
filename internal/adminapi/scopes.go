package adminapi

import (
	"net/url"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// Scopes is the path of the endpoint that shows which scopes an app needs; see
// [ScopesPath].
const Scopes = "/hubspot/scopes"

// ScopesPath is the path of an app's scopes.
func ScopesPath(app string) string { return Scopes + "/" + url.PathEscape(app) }

// ScopeList is the answer of [Scopes].
type ScopeList struct {
	App string `json:"app"`
	// Since is when the first sidecar began to learn.
	Since  time.Time      `json:"since"`
	Scopes []scopeuse.Row `json:"scopes"`
	// Problem says what is missing in this answer: what other sidecars have
	// learnt, or some of the connections.
	Problem string `json:"problem,omitempty"`
}
