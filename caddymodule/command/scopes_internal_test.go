package command

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

func TestScopesTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	list := adminapi.ScopeList{App: "hbdev", Since: now.Add(-73 * time.Hour), Problem: "store\x1b[2J", Scopes: []scopeuse.Row{
		{Scope: "oauth", Configured: "required", Granted: 3},
		{Scope: "crm.objects.contacts.read", Configured: "required", Granted: 3, LastNeeded: before(time.Minute)},
		{Scope: "crm.lists.read", Configured: "conditional", Granted: 3, LastNeeded: before(5 * time.Hour)},
		{Scope: "crm.objects.contacts.write", Configured: "optional", Granted: 1, LastNeeded: before(time.Second), Missing: scopeuse.Missing{
			Connections: 2, More: true, Endpoints: []string{"POST /crm/objects/2026-09/contacts", "PATCH /crm/objects/2026-09/contacts/{id}"},
		}},
		{Scope: "files", Configured: "optional", Granted: 3},
		{Scope: "crm.objects.deals.read", Configured: "no", LastNeeded: before(72 * time.Hour), Missing: scopeuse.Missing{
			Connections: 1, Endpoints: []string{"GET /crm/v3/pipelines/deals"}, OneOf: []string{"crm.schemas.deals.read"},
		}},
		{Scope: "crm.schemas.deals.read", Configured: "no", Missing: scopeuse.Missing{
			Connections: 1, Endpoints: []string{"GET /crm/v3/pipelines/deals"}, OneOf: []string{"crm.objects.deals.read"},
		}},
		{Scope: "evil\x1b[2J", Configured: "no", Granted: 1},
	}}
	const want = `SCOPE CONFIGURED GRANTED LAST NEEDED MISSING
oauth required 3 always
crm.objects.contacts.read required 3 1 minute ago
crm.lists.read conditional 3 5 hours ago
crm.objects.contacts.write optional 1 less than a minute ago 2+ of those that called POST /crm/objects/2026-09/contacts, PATCH /crm/objects/2026-09/contacts/{id}
files optional 3 never in 3 days
crm.objects.deals.read no 0 3 days ago 1 of those that called GET /crm/v3/pipelines/deals (or crm.schemas.deals.read)
crm.schemas.deals.read no 0 never 1 of those that called GET /crm/v3/pipelines/deals (or crm.objects.deals.read)
"evil\x1b[2J" no 1 never

Observed for 3 days, since 2026-11-25T11:00:00Z.
Never needed in that time: files.
Not complete: "store\x1b[2J".

For the app's block in the Caddyfile (not with scopes_from):

scopes oauth crm.objects.contacts.read
conditional_scopes crm.lists.read
optional_scopes crm.objects.contacts.write files crm.objects.deals.read

For config.auth in app-hsmeta.json, to be uploaded to HubSpot:

"requiredScopes": ["oauth","crm.objects.contacts.read"],
"conditionallyRequiredScopes": ["crm.lists.read"],
"optionalScopes": ["crm.objects.contacts.write","files","crm.objects.deals.read"]
`
	squeeze := func(text string) string {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n") + "\n"
	}
	var out strings.Builder
	if err := printScopes(&out, list, false, now); err != nil || squeeze(out.String()) != want {
		t.Errorf("%v:\n%s", err, out.String())
	}
	out.Reset()
	if err := printScopes(&out, list, true, now); err != nil || squeeze(out.String()) != strings.NewReplacer(
		".write files crm", ".write crm", `"files",`, "").Replace(want) {
		t.Errorf("without unused ones: %v:\n%s", err, out.String())
	}
	// One that is configured does instead of the other.
	list.Scopes[6].Configured = "optional"
	if got := suggested(list.Scopes, true).Optional; strings.Join(got, " ") != "crm.objects.contacts.write crm.schemas.deals.read" {
		t.Errorf("with the other one configured: %v", got)
	}
}
