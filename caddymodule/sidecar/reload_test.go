package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// hub returns the run-time app hbdev of the running config.
func hub(h *caddytest.Harness) *hubapp.App {
	h.T.Helper()
	return h.App("HBdev")
}

func TestReloadKeepsTokens(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	before := hub(h)
	token, err := before.Manager.Token(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}

	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	after := hub(h)
	if after == before {
		t.Fatal("the config was not reloaded")
	}
	if after.Manager != before.Manager {
		t.Error("the reload made another manager")
	}
	again, err := after.Manager.Token(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if !again.Access.Equal(token.Access) {
		t.Error("the reload lost the cached token")
	}
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme"); got.StatusCode != http.StatusOK {
		t.Errorf("calling after the reload: %s: %s", got.Status, got.Text)
	}
}

func TestBadConfigLeavesTheLiveOneAlone(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	before := hub(h)
	references := func() (store, manager int) {
		return caddytest.References("store"), caddytest.References("manager")
	}
	store, manager := references()
	for name, text := range map[string]string{
		"fails before the pool": caddytest.Caddyfile("caller second {\n key {env.NO_SUCH}\n }", caddytest.AuthAndProxy),
		"fails after the pool":  caddytest.Caddyfile("", caddytest.AuthAndProxy+"\n hubspot_proxy /x no-such-app"),
	} {
		if err := h.Load(text); err == nil {
			t.Fatalf("%s: it was accepted", name)
		}
		if s, m := references(); s != store || m != manager {
			t.Errorf("%s: references to the store and the manager: %d and %d, want %d and %d", name, s, m, store, manager)
		}
	}
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme"); got.StatusCode != http.StatusOK {
		t.Errorf("calling after bad configs: %s: %s", got.Status, got.Text)
	}

	// What the manager reports goes to the log of the config that runs.
	lines := strings.Count(h.Logs.String(), "access token refreshed")
	if _, err := before.Manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(h.Logs.String(), "access token refreshed"); got != lines+1 {
		t.Errorf("lines about the refresh: %d, want %d", got, lines+1)
	}

	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if h.App("hbdev").Manager != before.Manager {
		t.Error("a good config after bad ones made another manager")
	}
}

func TestChangedSettingMakesAnotherManager(t *testing.T) {
	t.Setenv("STORE_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	base := caddytest.Caddyfile("", caddytest.AuthAndProxy)
	for _, tc := range []struct {
		name string
		text string
		same bool
	}{
		{"nothing", base, true},
		{"a caller", caddytest.Caddyfile("caller second {\n key sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n }", caddytest.AuthAndProxy), true},
		{"the optional scopes", strings.Replace(base, " crm.objects.companies.read", "", 1), true},
		{"the refresh quota", strings.Replace(base, "client_id ", "refresh_quota 20 1s\n client_id ", 1), false},
		{"the client id", strings.Replace(base, "{env.HUBSPOT_CLIENT_ID}", "another-client", 1), false},
		{"the next secret", strings.Replace(base, "client_id ", "client_secret_next {env.CALLER_KEY}\n client_id ", 1), false},
		{"the API", strings.Replace(base, "api       SANDBOX", "api https://api.hubapi.com", 1), false},
		{"the store's key", caddytest.Caddyfile("store caddy {\n encryption_key {env.STORE_KEY}\n }", caddytest.AuthAndProxy), false},
		{"the storage", strings.Replace(base, "{\n", "{\n storage file_system DIR/elsewhere\n", 1), false},
		{"the app's name", strings.ReplaceAll(base, "hbdev", "hbprod"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := caddytest.Start(t, base)
			before := h.App("hbdev").Manager
			if err := h.Load(tc.text); err != nil {
				t.Fatal(err)
			}
			after := h.Sidecar().Apps()[0]
			if same := after.Manager == before; same != tc.same {
				t.Errorf("same manager: %v, want %v", same, tc.same)
			}
			if kinds := caddytest.Pooled(); kinds["manager"] != 1 || kinds["process"] != 1 {
				t.Errorf("pool holds %v, want one manager and what the process has one of", kinds)
			}
		})
	}
}

func TestChangedSecretInTheEnvironment(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	before := h.App("hbdev").Manager
	t.Setenv("HUBSPOT_CLIENT_SECRET", "another-secret")
	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if h.App("hbdev").Manager == before {
		t.Error("a reload with another secret kept the old one")
	}
}

func TestStopEmptiesThePool(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy+"\n hubspot_sandbox /sandbox/*"))
	h.Connect("acme", sandbox.DemoHubID)
	if kinds := caddytest.Pooled(); kinds["manager"] != 1 || kinds["store"] != 1 || kinds["process"] != 1 || kinds["sandbox"] != 1 {
		t.Errorf("pool holds %v, want one of each", kinds)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the pool to be empty", func() bool { return len(caddytest.Pooled()) == 0 })
}

func TestConnectionSurvivesARestart(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the pool to be empty", func() bool { return len(caddytest.Pooled()) == 0 })
	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme"); got.StatusCode != http.StatusOK {
		t.Errorf("calling after the restart: %s: %s", got.Status, got.Text)
	}
}

func TestRequestOutlivesItsConfig(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	old := hub(h)
	// Another manager takes over; the old one's config is cleaned up.
	if err := h.Load(strings.Replace(caddytest.Caddyfile("", caddytest.AuthAndProxy), "client_id ", "refresh_quota 20 1s\n client_id ", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Manager.Token(t.Context(), "acme"); err != nil {
		t.Errorf("token for a request of the old config: %v", err)
	}
	if _, err := old.StateSealer(t.Context()); err != nil {
		t.Errorf("sealer for a request of the old config: %v", err)
	}
}
