package admin_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// What a call lacked shows until the connection has it, and what it needed
// stays.
func TestScopesAreShown(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	const companies = "/crm/objects/2026-09/companies"
	connect := func(user, optional string) {
		t.Helper()
		callback := h.Approve(h.InstallLink("hbdev", user)+"&_sandbox_optional="+optional, sandbox.DemoHubID)
		if got := h.Do(http.MethodGet, callback, nil, "Accept", "application/json"); got.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", got.Status, got.Text)
		}
	}
	rows := func() map[string]scopeuse.Row {
		t.Helper()
		got := h.Admin(http.MethodGet, adminapi.ScopesPath("HBdev"))
		var list adminapi.ScopeList
		got.JSON(t, &list)
		if got.StatusCode != 200 || list.App != "hbdev" || list.Since.IsZero() || list.Problem != "" {
			t.Fatalf("%s %s", got.Status, got.Text)
		}
		if strings.Contains(got.Text, "acme") || !strings.Contains(got.Text, `"lastNeeded":null`) {
			t.Errorf("the answer: %s", got.Text)
		}
		byScope := make(map[string]scopeuse.Row)
		for _, row := range list.Scopes {
			byScope[row.Scope] = row
		}
		return byScope
	}
	connect("acme", "")
	connect("globex", "crm.objects.companies.read")
	for _, user := range []string{"acme", "globex", "globex"} {
		h.Get(companies, user)
	}
	got := rows()["crm.objects.companies.read"]
	if got.LastNeeded == nil || got.Configured != "optional" || got.Granted != 1 ||
		!reflect.DeepEqual(got.Missing, scopeuse.Missing{Connections: 1, Endpoints: []string{"GET " + companies}}) {
		t.Errorf("lacked by one of two: %+v", got)
	}
	if got := rows()["oauth"]; got.Granted != 2 || got.Configured != "required" || got.LastNeeded != nil {
		t.Errorf("%+v", got)
	}
	connect("acme", "crm.objects.companies.read")
	if got := rows()["crm.objects.companies.read"]; got.LastNeeded == nil || got.Granted != 2 || got.Missing.Connections != 0 || len(got.Missing.Endpoints) != 0 {
		t.Errorf("granted by both: %+v", got)
	}
	for path, status := range map[string]int{adminapi.ScopesPath("other"): 404, adminapi.Scopes + "/": 404} {
		if got := h.Admin(http.MethodGet, path); got.StatusCode != status {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	if got := h.Admin(http.MethodPost, adminapi.ScopesPath("hbdev")); got.StatusCode != 405 {
		t.Errorf("POST: %s", got.Status)
	}
}
