package sidecar_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// TestFallbackCache starts again while Vault is down.
func TestFallbackCache(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	role := server.AppRole(t, map[string]any{"token_policies": []string{server.Policy(t, "sidecar.hcl", mount, "hbdev")}})
	t.Setenv("VAULT_ROLE_ID", role.RoleID)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	t.Setenv("FALLBACK_KEY", base64.StdEncoding.EncodeToString(key))

	h := caddytest.New(t, caddytest.WithAdmin())
	h.WriteFile("secret_id", role.SecretID(t))
	text := caddytest.Caddyfile(caddytest.VaultStore(server, role, mount, "")+`
		fallback_cache DIR/fallback {
			key {env.FALLBACK_KEY}
			max_age 1h
		}`, caddytest.AuthAndProxy)
	load := func() {
		t.Helper()
		if err := h.Load(text); err != nil {
			t.Fatal(err)
		}
	}
	load()
	h.Connect("acme", sandbox.DemoHubID)
	h.Connect("globex", sandbox.DemoHubID)
	if got := h.Admin(http.MethodDelete, adminapi.ConnectionPath("hbdev", "globex")); got.StatusCode != http.StatusOK {
		t.Fatalf("disconnecting: %s: %s", got.Status, got.Text)
	}

	server.Stop(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the process to forget", func() bool { return len(caddytest.Pooled()) == 0 })
	load()
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme"); got.StatusCode != http.StatusOK {
		t.Errorf("calling for a known user while Vault is down: %s: %s", got.Status, got.Text)
	}
	for _, user := range []string{"globex", "stranger"} {
		got := h.Get("/crm/objects/2026-09/contacts?limit=1", user)
		if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store_unavailable") || got.Header.Get("Retry-After") == "" {
			t.Errorf("calling for %s while Vault is down: %s: %s", user, got.Status, got.Text)
		}
	}
	if got := h.Admin(http.MethodGet, "/hubspot/ready"); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready while Vault is down: %s: %s", got.Status, got.Text)
	}
	metrics := h.Admin(http.MethodGet, "/metrics").Text
	if !strings.Contains(metrics, `caddy_hubspot_time_left_seconds{app="hbdev"} `) {
		t.Error("no metric says how long the outage may last")
	}

	server.Restart(t)
	h.WaitFor("readiness to come back", func() bool {
		return h.Admin(http.MethodGet, "/hubspot/ready").StatusCode == http.StatusOK
	})
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "globex"); got.StatusCode != http.StatusNotFound {
		t.Errorf("calling for a disconnected user with Vault back: %s: %s", got.Status, got.Text)
	}
}
