package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// What browsers bring back and what the admin API ends has lines as what
// callers do, and a state that nobody made has none.
func TestAuditOfInstallsAndDisconnects(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile(caddytest.AuditSetting, caddytest.AuthAndProxy), caddytest.WithAdmin())
	callback := h.Approve(h.InstallLink("hbdev", "acme"), sandbox.DemoHubID)
	h.Do(http.MethodGet, strings.Replace(callback, "state=", "state=x", 1), nil)
	for range 2 { // the second time its state is used
		h.Do(http.MethodGet, callback, nil, "Accept", "application/json")
	}
	path := adminapi.ConnectionPath("hbdev", "acme")
	for _, want := range []int{http.StatusOK, http.StatusNotFound} {
		if got := h.Admin(http.MethodDelete, path); got.StatusCode != want {
			t.Errorf("%s: %s; want %d", got.Status, got.Text, want)
		}
	}
	var got []audit.Entry
	for _, line := range h.WaitForAuditLines(5) {
		if line.Kind != audit.KindInstall && line.Kind != audit.KindAdminDisconnect {
			continue
		}
		got = append(got, audit.Entry{Kind: line.Kind, App: line.App, Portal: line.Portal, Method: line.Method, Status: line.Status, Error: line.Error})
		if tag := h.App("hbdev").Manager.Tag(t.Context(), "acme"); line.UserTag != tag {
			t.Errorf("%s is about %q, want %q", line.Kind, line.UserTag, tag)
		}
	}
	want := []audit.Entry{
		{Kind: audit.KindInstall, App: "hbdev", Portal: sandbox.DemoHubID, Method: "GET", Status: 200},
		{Kind: audit.KindInstall, App: "hbdev", Method: "GET", Status: 400, Error: "state_used"},
		{Kind: audit.KindAdminDisconnect, App: "hbdev", Portal: sandbox.DemoHubID, Method: "DELETE", Status: 200},
		{Kind: audit.KindAdminDisconnect, App: "hbdev", Method: "DELETE", Status: 404, Error: "not_connected"},
	}
	if len(got) != len(want) {
		t.Fatalf("lines: %+v\nwant %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}
