package hubspot

import (
	"net/http"
	"strings"
)

// Limit says which of HubSpot's limits counts a request
// (https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines).
type Limit uint8

const (
	// BurstLimit is the limit per app and portal: 110 in 10 s.
	BurstLimit Limit = iota
	// SearchLimit is the limit on searching CRM objects: 5 in 1 s.
	SearchLimit
	// JournalLimit is the limit on the webhooks journal, per app: 100 in 1 s.
	JournalLimit
	// NoLimit is for requests that none of them counts.
	NoLimit
)

// Policies of HubSpot's rate limits, as they stand in policyName.
const (
	PolicyTenSecondlyRolling = "TEN_SECONDLY_ROLLING"
	PolicySecondly           = "SECONDLY"
	PolicyDaily              = "DAILY"
)

// LimitOf returns the limit that counts a request, by its method and its
// path, as it goes to HubSpot.
//
// HubSpot marks in its API descriptions what its burst limit does not count.
// This function knows these groups of paths:
//
//	POST /crm/…/search                 search of CRM objects, which has its own limit
//	/crm/…/associations/…/batch/…      reading and writing many associations
//	/cms/…/source-code/…               files of themes and modules
//	/events/…/send, …/send/batch       occurrences of custom events
//	/marketing/…/single-send, …/single-email/send
//	/webhooks-journal/…                which has its own limit, for all portals
//
// A path too many or too few does no harm: what HubSpot counts and we do not
// shows up as somebody else's use, and what we count and HubSpot does not is
// slower than it could be.
func LimitOf(method, path string) Limit {
	area, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch area {
	case "crm":
		if method == http.MethodPost && strings.HasSuffix(rest, "/search") {
			return SearchLimit
		}
		if _, after, ok := strings.Cut(rest, "associations/"); ok && strings.Contains(after, "/batch/") {
			return NoLimit
		}
	case "cms":
		if hasSegment(rest, "source-code") {
			return NoLimit
		}
	case "events":
		if method == http.MethodPost && hasSegment(rest, "send") {
			return NoLimit
		}
	case "marketing":
		if method == http.MethodPost && (hasSegment(rest, "single-send") || hasSegment(rest, "single-email")) {
			return NoLimit
		}
	case "webhooks-journal":
		return JournalLimit
	}
	return BurstLimit
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
