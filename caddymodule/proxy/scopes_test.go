package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// The whole way of a scope: a call lacks it, the link is followed, and the call
// is served. Whoever reads the access log meanwhile gets no link.
func TestAMissingScopeIsGrantedByItsLink(t *testing.T) {
	site := strings.Replace(caddytest.AuthAndProxy, "hubspot_proxy", "log\n\thubspot_proxy", 1)
	h := caddytest.Start(t, caddytest.Caddyfile("", site))
	finish := func(callback string) {
		t.Helper()
		if got := h.Do(http.MethodGet, callback, nil, "Accept", "application/json"); got.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", got.Status, got.Text)
		}
	}
	finish(h.Approve(h.InstallLink("hbdev", "acme")+"&_sandbox_optional=", sandbox.DemoHubID))
	const companies = "/crm/objects/2026-09/companies"
	refused := h.Get(companies, "acme")
	link := refused.Header.Get("X-HubSpot-Reconnect")
	if refused.StatusCode != 403 || !strings.Contains(refused.Text, "MISSING_SCOPES") || link == "" {
		t.Fatalf("%s %s, link %q", refused.Status, refused.Text, link)
	}
	finish(h.Approve(link, sandbox.DemoHubID))
	if got := h.Get(companies, "acme"); got.StatusCode != 200 {
		t.Errorf("afterwards: %s %s", got.Status, got.Text)
	}
	h.WaitFor("the access log", func() bool { return strings.Contains(h.Logs.String(), `"status":403`) })
	if strings.Contains(h.Logs.String(), "state=") || strings.Contains(h.Logs.String(), "/oauth/authorize?") {
		t.Error("the link is in a log")
	}
}
