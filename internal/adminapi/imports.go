package adminapi

import (
	"encoding/json"
	"net/url"
)

// Imports is where several connections of an app are imported at once; the app
// is behind it: see [ImportsPath].
const Imports = "/hubspot/imports"

// MaxImports is how many records an [ImportOrder] may have.
const MaxImports = 100

// ImportsPath is where connections of an app are imported.
func ImportsPath(app string) string { return Imports + "/" + url.PathEscape(app) }

// ImportOrder is the body of a request to import.
type ImportOrder struct {
	// Records are those of [importfile.Record], tokens in clear.
	//
	// [importfile.Record]: https://pkg.go.dev/github.com/caddy-hubspot/caddy-hubspot/internal/importfile#Record
	Records []json.RawMessage `json:"records"`
	// DryRun asks everything and stores nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Overwrite replaces live connections, and brings back what was
	// disconnected.
	Overwrite bool `json:"overwrite,omitempty"`
}

// ImportAnswer says what became of the first records of an order: Results is
// shorter than the order where time was up or something is in the way. The
// others are to be sent again.
type ImportAnswer struct {
	Results []ImportResult `json:"results"`
	// Problem is nil if nothing is in the way.
	Problem *ImportProblem `json:"problem,omitempty"`
}

// ImportResult says what became of one record.
type ImportResult struct {
	// Result is imported, exists or refused.
	Result        string   `json:"result"`
	HubID         int64    `json:"hubId,omitempty"`
	MissingScopes []string `json:"missingScopes,omitempty"`
	Field         string   `json:"field,omitempty"`
	Reason        string   `json:"reason,omitempty"`
}

// ImportProblem says what is in the way.
type ImportProblem struct {
	// Code is hubspot_unavailable, store_unavailable, refresh_quota or
	// app_misconfigured; the last does not pass by itself.
	Code    string `json:"code"`
	Message string `json:"message"`
	// RetryAfter is how many seconds it makes no sense to ask again.
	RetryAfter int `json:"retryAfter"`
}
