package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// TestFreezesSurvive reloads, and starts again.
func TestFreezesSurvive(t *testing.T) {
	h := startSandboxed(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Freeze(freeze.Selector{User: "acme"})
	keeper := h.Sidecar().Freezes()
	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy+"\n respond /x 204")); err != nil {
		t.Fatal(err)
	}
	if h.Sidecar().Freezes() != keeper {
		t.Error("the reload made another keeper")
	}
	sidecartest.WantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	h.Stop()
	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	// The very first request: nothing was asked before.
	sidecartest.WantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	if logs := h.Logs.String(); strings.Count(logs, "an operator has frozen calls") != 2 || strings.Contains(logs, `"acme"`) {
		t.Error("the log does not tell of the freeze once per process, or names the user")
	}
	h.UnfreezeAll()
	if got := h.Get(contacts, "acme"); got.StatusCode != http.StatusOK {
		t.Errorf("after it was lifted: %s %s", got.Status, got.Text)
	}
	if n := strings.Count(h.Logs.String(), "an operator has lifted a freeze"); n != 1 {
		t.Errorf("%d lines about the lifting; want one", n)
	}
}
