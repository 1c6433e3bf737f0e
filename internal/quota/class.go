package quota

import (
	"net/http"
	"strings"
)

// Class says which of HubSpot's limits a request counts against.
type Class uint8

const (
	// Burst is the limit per app and portal: 110 in 10 s.
	Burst Class = iota
	// Search is the limit on searching CRM objects: 5 in 1 s.
	Search
	// Exempt requests have neither limit.
	Exempt
)

// ClassOf returns the class of a request by its method and its path, as it
// goes to HubSpot.
//
// HubSpot marks in its API descriptions what its burst limit does not count.
// This function knows these groups of paths:
//
//	POST /crm/…/search                 search of CRM objects, which has its own limit
//	/crm/…/associations/…/batch/…      reading and writing many associations
//	/cms/…/source-code/…               files of themes and modules
//	/events/…/send, …/send/batch       occurrences of custom events
//	/marketing/…/single-send, …/single-email/send
//	/webhooks-journal/…
//
// A path too many or too few does no harm: what HubSpot counts and we do not
// shows up as somebody else's use, and what we count and HubSpot does not is
// slower than it could be.
func ClassOf(method, path string) Class {
	area, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch area {
	case "crm":
		if method == http.MethodPost && strings.HasSuffix(rest, "/search") {
			return Search
		}
		if _, after, ok := strings.Cut(rest, "associations/"); ok && strings.Contains(after, "/batch/") {
			return Exempt
		}
	case "cms":
		if hasSegment(rest, "source-code") {
			return Exempt
		}
	case "events":
		if method == http.MethodPost && hasSegment(rest, "send") {
			return Exempt
		}
	case "marketing":
		if method == http.MethodPost && (hasSegment(rest, "single-send") || hasSegment(rest, "single-email")) {
			return Exempt
		}
	case "webhooks-journal":
		return Exempt
	}
	return Burst
}

// hasSegment reports whether one of a path's segments is name.
func hasSegment(path, name string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == name {
			return true
		}
	}
	return false
}

// Lane says how urgent a request is.
type Lane uint8

const (
	// Interactive requests overtake batch work. It is the default.
	Interactive Lane = iota
	// Batch is work that may wait.
	Batch

	lanes = 2
)
