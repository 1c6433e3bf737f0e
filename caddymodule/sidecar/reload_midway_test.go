package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// TestMidwayThroughARefresh interrupts a refresh that HubSpot is slow to
// answer, in every way in which a config can end: nothing is lost and nothing
// refreshed twice. A client that hangs up is for the tests of package relay.
func TestMidwayThroughARefresh(t *testing.T) {
	text := strings.Replace(caddytest.Caddyfile("", caddytest.AuthAndProxy), "client_id ", "client_secret_next {file.DIR/next}\n\t\t\tclient_id ", 1)
	// Another quota is another manager, so that the old one has to end.
	other := strings.Replace(text, "scopes          oauth", "refresh_quota 5 1s\n\t\t\tscopes          oauth", 1)
	load := func(h *caddytest.Harness, text string) {
		if err := h.Load(text); err != nil {
			t.Error(err)
		}
	}
	for name, interrupt := range map[string]func(h *caddytest.Harness){
		"a reload":                       func(h *caddytest.Harness) { load(h, text) },
		"a reload that ends the manager": func(h *caddytest.Harness) { load(h, other) },
		"a file that ends the manager": func(h *caddytest.Harness) {
			before := hub(h).Manager
			h.WriteFile("next", "the-secret-after-next")
			h.Sidecar().Look()
			if hub(h).Manager == before {
				t.Error("the manager has not ended")
			}
		},
		"a stop": func(h *caddytest.Harness) {
			if err := caddy.Stop(); err != nil {
				t.Error(err)
			}
			h.WaitFor("the manager to close", func() bool { return len(caddytest.Pooled()) == 0 })
			pool.WaitForClosings()
			load(h, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := caddytest.New(t)
			h.WriteFile("next", "the-next-secret")
			load(h, text)
			h.Connect("acme", sandbox.DemoHubID)
			record := func() connection.Versioned {
				v, err := sidecar.StoreOf(h.Sidecar()).Load(t.Context(), connection.Key{App: "hbdev", User: "acme"})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			before := record().AccessToken
			h.Fault(`{"expire_access_tokens":{},"token":{"delay":"1s","times":1}}`)
			done := make(chan struct{})
			go func() {
				defer close(done)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, caddytest.Base+contacts, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+caddytest.CallerKey)
				req.Header.Set("X-HubSpot-User", "acme")
				if resp, err := h.Client().Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}()
			h.WaitFor("the refresh to begin", func() bool { return record().Claim != nil })
			interrupt(h)
			<-done
			h.WaitFor("the result to be stored", func() bool {
				v := record()
				return v.Claim == nil && !v.AccessToken.Equal(before)
			})
			if got := h.Get(contacts+"?limit=1", "acme"); got.StatusCode != http.StatusOK {
				t.Errorf("calling afterwards: %s: %s", got.Status, got.Text)
			}
			if n := h.Sandbox.Stats().Grants[0].Refreshes; n != 1 {
				t.Errorf("%d refreshes; want 1", n)
			}
		})
	}
}
