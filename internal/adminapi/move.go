package adminapi

// Move is where connections are moved from the store of migrate_from.
const Move = "/hubspot/move"

// MoveOrder is the body of a request to move: one page of an app.
type MoveOrder struct {
	App string `json:"app"`
	// After is the cursor of the page before it; empty at the beginning.
	After string `json:"after,omitempty"`
}

// MoveAnswer says what came of a page.
type MoveAnswer struct {
	// Moved were moved now, Left had been before.
	Moved int `json:"moved"`
	Left  int `json:"left"`
	// Waiting are being refreshed by a sidecar with the old store alone:
	// another pass moves them.
	Waiting int `json:"waiting"`
	// Disconnected were disconnected by such a sidecar after they had been
	// moved, and now are here as well.
	Disconnected int `json:"disconnected"`
	// Documents are what was moved beside connections.
	Documents int `json:"documents"`
	// Next is the cursor to go on with; empty at the end.
	Next string `json:"next,omitempty"`
}
