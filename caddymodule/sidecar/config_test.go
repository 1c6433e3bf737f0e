package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

const contacts = "/crm/objects/2026-09/contacts"

func TestGoldenCaddyfiles(t *testing.T) { caddytest.Golden(t, "testdata") }

func TestConnectAndCall(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme")
	if got.StatusCode != http.StatusOK || !strings.Contains(got.Text, `"results"`) {
		t.Errorf("contacts: %s: %s", got.Status, got.Text)
	}
}

// A store cannot be moved to where it is.
func TestMigrateFromTheSamePlace(t *testing.T) {
	h := caddytest.New(t)
	for _, global := range []string{
		"migrate_from caddy", "store caddy\nmigrate_from caddy {\n key_file DIR/other.key\n }",
		"store vault http://127.0.0.1:8200 {\n auth token {env.CALLER_KEY}\n }\nmigrate_from vault http://127.0.0.1:8200 {\n auth token {env.CALLER_KEY}\n }",
	} {
		err := h.Load(caddytest.Caddyfile(global, caddytest.AuthAndProxy))
		if err == nil || !strings.Contains(err.Error(), "migrate_from: is the same place as store") {
			t.Errorf("%s: %v", global, err)
		}
	}
}
