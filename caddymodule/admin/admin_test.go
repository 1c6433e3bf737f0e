package admin_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestAdminStatus(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	var got adminapi.Status
	answer := h.Admin(http.MethodGet, "/hubspot/status")
	answer.JSON(t, &got)
	if !got.Store.Ready || got.Store.Type != "caddy" || got.Endpoints.API != h.SandboxURL || got.Endpoints.Version != "2026-09" {
		t.Errorf("status: %s", answer.Text)
	}
	if len(got.Apps) != 1 || got.Apps[0].Name != "hbdev" || got.Apps[0].RedirectURI != caddytest.RedirectURI || len(got.Apps[0].Alarms) != 0 {
		t.Errorf("apps: %s", answer.Text)
	}
	if want := (adminapi.RefreshBudget{PerSecond: 10, Ceiling: 100}); got.Apps[0].RefreshBudget != want {
		t.Errorf("refresh budget: %+v", got.Apps[0].RefreshBudget)
	}
	if len(got.Callers) != 1 || got.Callers[0] != "tester" {
		t.Errorf("callers: %s", answer.Text)
	}
	if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("header: %v", answer.Header)
	}
}

func TestAdminStatusShowsAlarms(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	h.Fault(`{"token":{"answer":"invalid_client"}}`)
	if got := h.Admin(http.MethodPost, "/hubspot/connections/hbdev/acme/refresh"); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("refreshing with refused credentials: %s: %s", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/status"); !strings.Contains(got.Text, `"alarms":{"app_misconfigured":{"since":"20`) {
		t.Errorf("status: %s", got.Text)
	}
	if got := h.Admin(http.MethodGet, "/metrics"); !strings.Contains(got.Text, `caddy_hubspot_app_alarm{app="hbdev",reason="app_misconfigured"} 1`) {
		t.Error("metrics lack the alarm")
	}
}

func TestAdminReadiness(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("store caddy {\n key_file DIR/store.key\n }", caddytest.AuthAndProxy), caddytest.WithAdmin())
	want := func(status int, text string) {
		t.Helper()
		got := h.Admin(http.MethodGet, "/hubspot/ready")
		if got.StatusCode != status || !strings.Contains(got.Text, text) {
			t.Errorf("ready: %s: %s; want %d with %s", got.Status, got.Text, status, text)
		}
		if live := h.Admin(http.MethodGet, "/hubspot/live"); live.StatusCode != http.StatusOK {
			t.Errorf("live: %s", live.Status)
		}
	}
	// A key file that others may read is refused until that is mended.
	key := h.WriteFile("store.key", "")
	want(http.StatusServiceUnavailable, `{"ready":false,"reasons":["store caddy: `)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	want(http.StatusOK, `{"ready":true}`)
}

func TestAdminConnections(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	users := []string{"acme", "globex/emea", "dots..", "..", "sales@example.com", "a b%2Fc"}
	for _, user := range users {
		h.Connect(user, sandbox.DemoHubID)
	}

	var page callerapi.Page
	h.Admin(http.MethodGet, "/hubspot/connections/HBdev?limit=4").JSON(t, &page)
	if len(page.Results) != 4 || page.Paging == nil {
		t.Fatalf("first page: %+v", page)
	}
	var rest callerapi.Page
	h.Admin(http.MethodGet, "/hubspot/connections/hbdev?after="+page.Paging.Next.After).JSON(t, &rest)
	if len(rest.Results) != 2 || rest.Paging != nil {
		t.Fatalf("second page: %+v", rest)
	}
	listed := make(map[string]bool)
	for _, c := range append(page.Results, rest.Results...) {
		listed[c.User] = true
	}

	for _, user := range users {
		if !listed[user] {
			t.Errorf("%q is not listed", user)
		}
		var got callerapi.View
		answer := h.Admin(http.MethodGet, adminapi.ConnectionPath("hbdev", user))
		answer.JSON(t, &got)
		if got.User != user || got.HubID != sandbox.DemoHubID || got.Status != "active" || len(got.Scopes) == 0 || got.ConnectedAt.IsZero() || got.ExpiresAt.IsZero() {
			t.Errorf("connection of %q: %s", user, answer.Text)
		}
	}

	refreshed := h.Admin(http.MethodPost, adminapi.ConnectionPath("hbdev", users[1])+"/refresh")
	if refreshed.StatusCode != http.StatusOK || h.Sandbox.Stats().Grants[0].Refreshes != 1 {
		t.Errorf("refreshing: %s: %s; %+v", refreshed.Status, refreshed.Text, h.Sandbox.Stats().Grants)
	}
	if got := h.Admin(http.MethodDelete, adminapi.ConnectionPath("hbdev", users[1])); got.StatusCode != http.StatusOK || !strings.Contains(got.Text, `"revoked":"shared","uninstalled":"not_asked","destroyed":true`) {
		t.Errorf("disconnecting: %s: %s", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, adminapi.ConnectionPath("hbdev", users[1])); got.StatusCode != http.StatusNotFound {
		t.Errorf("the disconnected one: %s: %s", got.Status, got.Text)
	}
}

func TestAdminRefusals(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	for _, tc := range []struct {
		method, path string
		status       int
		text         string
	}{
		{http.MethodPost, "/hubspot/status", http.StatusMethodNotAllowed, "method POST is not allowed here; use GET"},
		{http.MethodDelete, "/hubspot/ready", http.StatusMethodNotAllowed, "use GET"},
		{http.MethodPost, "/hubspot/live", http.StatusMethodNotAllowed, "use GET"},
		{http.MethodGet, "/hubspot/connections/", http.StatusBadRequest, "percent-encoded"},
		{http.MethodGet, "/hubspot/connections/nosuch", http.StatusNotFound, `there is no app \"nosuch\"`},
		{http.MethodPut, "/hubspot/connections/hbdev", http.StatusMethodNotAllowed, "use GET"},
		{http.MethodGet, "/hubspot/connections/hbdev?limit=0", http.StatusBadRequest, "limit: give a number from 1 to 1000"},
		{http.MethodGet, "/hubspot/connections/hbdev?limit=x", http.StatusBadRequest, "limit: give a number from 1 to 1000"},
		{http.MethodGet, "/hubspot/connections/hbdev/acme", http.StatusNotFound, "user is not connected"},
		{http.MethodDelete, "/hubspot/connections/hbdev/acme", http.StatusNotFound, "user is not connected"},
		{http.MethodPatch, "/hubspot/connections/hbdev/acme", http.StatusMethodNotAllowed, "use GET or DELETE"},
		{http.MethodGet, "/hubspot/connections/hbdev/acme/refresh", http.StatusMethodNotAllowed, "use POST"},
		{http.MethodPost, "/hubspot/connections/hbdev/acme/refresh", http.StatusNotFound, "user is not connected"},
		{http.MethodPost, "/hubspot/connections/hbdev/acme/revoke", http.StatusNotFound, "no such path"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			got := h.Admin(tc.method, tc.path)
			if got.StatusCode != tc.status || !strings.Contains(got.Text, tc.text) {
				t.Errorf("%s: %s; want %d with %s", got.Status, got.Text, tc.status, tc.text)
			}
		})
	}
}

func TestAdminWithoutTheOption(t *testing.T) {
	h := caddytest.New(t, caddytest.WithAdmin())
	if err := h.Load("http://localhost:0 {\n respond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/hubspot/status", "/hubspot/ready", "/hubspot/connections/hbdev"} {
		if got := h.Admin(http.MethodGet, path); got.StatusCode != http.StatusNotFound || !strings.Contains(got.Text, "no global option hubspot") {
			t.Errorf("%s: %s: %s", path, got.Status, got.Text)
		}
	}
}
