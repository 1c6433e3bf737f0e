package hubspot_test

import (
	"fmt"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestNamedScopes(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"GET /crm/objects/2026-09/contacts":                            "[[crm.objects.contacts.read]]",
		"GET /crm/v3/objects/contacts/{id}":                            "[[crm.objects.contacts.read]]",
		"POST /crm/v3/objects/contacts/search":                         "[[crm.objects.contacts.read]]",
		"POST /crm/objects/2026-09/0-3/batch/read":                     "[[crm.objects.deals.read]]",
		"PATCH /crm/objects/2026-09/companies/{id}":                    "[[crm.objects.companies.write]]",
		"DELETE /crm/objects/2026-09-beta/{id}/{id}":                   "[[crm.objects.custom.write]]",
		"GET /crm/v3/objects/line_items":                               "[[crm.objects.line_items.read] [e-commerce]]",
		"GET /crm/v3/objects/tickets":                                  "[[crm.objects.tickets.read tickets]]",
		"GET /crm/v3/properties/deals":                                 "[[crm.schemas.deals.read crm.objects.deals.read]]",
		"POST /crm/properties/2026-09/deals":                           "[[crm.schemas.deals.write crm.objects.deals.write]]",
		"GET /crm/v3/pipelines/deals":                                  "[[crm.schemas.deals.read crm.objects.deals.read]]",
		"POST /crm/associations/2026-09/contacts/companies/batch/read": "[[crm.objects.contacts.read] [crm.objects.companies.read]]",
		"GET /crm/v3/owners":                                           "[[crm.objects.owners.read]]",
		"GET /owners/v2/owners":                                        "[[crm.objects.owners.read]]",
		"POST /crm/v3/lists":                                           "[[crm.lists.write]]",
		"POST /crm/v3/lists/search":                                    "[[crm.lists.read]]",
		"GET /crm/v3/schemas":                                          "[[crm.schemas.custom.read]]",
		"GET /contacts/v1/lists/all/contacts/all":                      "[[crm.objects.contacts.read]]",
		"GET /settings/v3/users":                                       "[[settings.users.read]]",
		"GET /files/v3/files/{id}":                                     "[[files]]",
		"GET /account-info/v3/details":                                 "[]",
		"GET /crm/v3/objects":                                          "[]",
		"GET /crm/v3":                                                  "[]",
		"GET ":                                                         "[]",
		"GET /v3":                                                      "[]",
		"GET /crm/v3/properties":                                       "[]",
		"other {id}":                                                   "[]",
	} {
		var method, template string
		_, _ = fmt.Sscan(endpoint, &method, &template)
		if got := fmt.Sprint(hubspot.NamedScopes(method, template)); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}
