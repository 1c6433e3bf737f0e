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
