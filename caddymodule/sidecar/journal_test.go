package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// withJournal has the app of a Caddyfile read its journal, and the caller make
// calls as the app.
func withJournal(caddyfile string) string {
	caddyfile = strings.Replace(caddyfile, "client_id ", "journal\n\t\t\tclient_id ", 1)
	return strings.Replace(caddyfile, "key {env.CALLER_KEY}", "key {env.CALLER_KEY}\n\t\t\tapp_calls", 1)
}

// TestJournal: an uninstall that happened while no sidecar ran ends the
// connection once one does, and what is known outlives a reload.
func TestJournal(t *testing.T) {
	text := withJournal(caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h := caddytest.Start(t, text)
	h.WaitFor("the journal to be read", func() bool {
		s := h.Sidecar().Status(t.Context()).Apps[0].Journal
		return s != nil && s.Reads && !s.ReadAt.IsZero() && s.Problem == ""
	})
	if got := h.Raw("GET /as-app/webhooks-journal/subscriptions/2026-09"); got.StatusCode != http.StatusOK || !strings.Contains(got.Text, "4-1916193") {
		t.Errorf("as the app: %s: %s", got.Status, got.Text)
	}
	h.Connect("acme", sandbox.DemoHubID)
	if err := h.Load(caddytest.WithQuota(text, "100 10s")); err != nil {
		t.Fatal(err)
	}
	if caddytest.References("journal") != 1 {
		t.Errorf("the pool has %v", caddytest.Pooled())
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the pool to be empty", func() bool { return len(caddytest.Pooled()) == 0 })
	h.Fault(`{"uninstall":{}}`)
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the connection to end", func() bool {
		text := h.Get("/hubspot/connections/hbdev/acme", "").Text
		return strings.Contains(text, `"reauth_required"`) && strings.Contains(text, `"reason":"uninstalled"`)
	})
	if got := h.Get("/crm/objects/2026-09/contacts", "acme"); got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Text, "reauth_required") {
		t.Errorf("calling: %s: %s", got.Status, got.Text)
	}
}
