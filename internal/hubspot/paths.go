package hubspot

import (
	"net/http"
	"strings"
	"time"
)

// roots are the first segments of the paths of HubSpot's API, in lower case
// (https://developers.hubspot.com/docs/api-reference, and the APIs of before
// that still answer).
var roots = map[string]bool{
	"account-info": true, "analytics": true, "app-webhooks": true, "audit-logs": true, "automation": true, "billing": true,
	"broadcast": true, "business-units": true, "calling": true, "cms": true, "collector": true,
	"communication-preferences": true, "companies": true, "contacts": true, "content": true, "contentaudit": true,
	"conversations": true, "cosemail": true, "crm": true, "crm-associations": true, "crm-object-schemas": true, "crm-objects": true,
	"crm-pipelines": true, "deals": true, "deployable-objects": true, "domains": true, "ecomm": true, "email": true,
	"emailassets": true, "engagements": true, "events": true, "extensions": true, "feature-flags": true,
	"filemanager": true, "files": true, "form-integrations": true, "forms": true, "hubdb": true,
	"integrations": true, "integrators": true, "layout-templates": true, "limits": true, "localdevauth": true,
	"marketing": true, "media-bridge": true, "meta": true, "oauth": true, "owners": true, "properties": true, "reports": true,
	"scheduler": true, "settings": true, "social": true, "submissions": true, "tax-rates": true, "templates": true,
	"tickets": true, "timeline": true, "uploads": true, "url-mappings": true, "usage": true, "users": true,
	"visitor-identification": true, "webhooks": true, "webhooks-journal": true, "workflows": true,
}

// IsRoot reports whether a word is the first segment of paths of HubSpot's
// API, such as crm, in any case.
func IsRoot(word string) bool { return roots[strings.ToLower(word)] }

// OnlyReads reports whether a method changes nothing at a path of the API, so
// that the call can be made again although it may have been processed.
func OnlyReads(method, path string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	case http.MethodPost:
		return postReads(path)
	}
	return false
}

// postReads reports whether a POST is a search or the reading of a batch, and
// not one whose path ends in a name that a customer has chosen: that of a file,
// as in /cms/v3/source-code/{environment}/content/{path}, or of a type, as in
// /crm/v3/objects/{objectType}. These are all the POSTs of HubSpot's Node SDK
// that end so, but for those with an id.
func postReads(path string) bool {
	if strings.Contains(strings.ToLower(path), "/source-code/") {
		return false
	}
	collection, ok := strings.CutSuffix(path, "/search")
	if !ok {
		return strings.HasSuffix(path, "/batch/read")
	}
	parent, last := cutLast(strings.ToLower(collection))
	if isDateVersion(last) {
		_, last = cutLast(parent)
	}
	return last != "objects" && last != "properties" && last != "pipelines"
}

func cutLast(path string) (parent, last string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// isDateVersion reports whether a segment is a version such as 2026-09, which
// stands behind the name of what is asked for.
func isDateVersion(segment string) bool {
	_, err := time.Parse("2006-01", segment)
	return err == nil
}
