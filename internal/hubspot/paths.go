package hubspot

import (
	"net/http"
	"strings"
)

// roots are the first segments of the paths of HubSpot's API, in lower case
// (https://developers.hubspot.com/docs/api-reference, and the APIs of before
// that still answer).
var roots = map[string]bool{
	"account-info": true, "analytics": true, "audit-logs": true, "automation": true, "billing": true,
	"broadcast": true, "business-units": true, "calling": true, "cms": true, "collector": true,
	"communication-preferences": true, "companies": true, "contacts": true, "content": true, "contentaudit": true,
	"conversations": true, "cosemail": true, "crm": true, "crm-associations": true, "crm-objects": true,
	"crm-pipelines": true, "deals": true, "deployable-objects": true, "domains": true, "ecomm": true, "email": true,
	"emailassets": true, "engagements": true, "events": true, "extensions": true, "feature-flags": true,
	"filemanager": true, "files": true, "form-integrations": true, "forms": true, "hubdb": true,
	"integrations": true, "integrators": true, "layout-templates": true, "limits": true, "localdevauth": true,
	"marketing": true, "meta": true, "oauth": true, "owners": true, "properties": true, "reports": true,
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
		return strings.HasSuffix(path, "/search") || strings.HasSuffix(path, "/batch/read")
	}
	return false
}
