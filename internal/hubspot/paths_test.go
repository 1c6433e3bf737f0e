package hubspot_test

import (
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestOnlyReads(t *testing.T) {
	t.Parallel()
	for call, want := range map[string]bool{
		"GET /anything":     true,
		"HEAD /anything":    true,
		"OPTIONS /anything": true,
		"POST /crm/objects/2026-09/contacts/search":           true,
		"POST /crm/v3/objects/contacts/search":                true,
		"POST /crm/v3/objects/p_search/search":                true,
		"POST /crm/v3/lists/search":                           true,
		"POST /crm/lists/2026-09/search":                      true,
		"POST /crm/v3/objects/contacts/batch/read":            true,
		"POST /crm/properties/2026-09/contacts/batch/read":    true,
		"POST /cms/v3/hubdb/tables/5/rows/draft/batch/read":   true,
		"POST /crm/objects/2026-09/contacts":                  false,
		"POST /crm/objects/2026-09/contacts/batch/create":     false,
		"POST /crm/v3/objects/contacts/SEARCH":                false,
		"PUT /crm/v3/objects/contacts/search":                 false,
		"DELETE /crm/v3/objects/contacts/search":              false,
		"get /anything":                                       false,
		"POST /cms/v3/source-code/draft/content/my/search":    false,
		"POST /cms/v3/Source-Code/draft/content/a/batch/read": false,
		"POST /cms/source-code/2026-09/draft/content/search":  false,
		"POST /crm/v3/objects/search":                         false,
		"POST /crm/objects/2026-09/search":                    false,
		"POST /crm/v3/Properties/search":                      false,
		"POST /crm/pipelines/2026-09/search":                  false,
	} {
		method, path, _ := strings.Cut(call, " ")
		if got := hubspot.OnlyReads(method, path); got != want {
			t.Errorf("%s only reads: %v", call, got)
		}
	}
}
