package relay

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// TestMidwayThroughARefresh interrupts a refresh that HubSpot is slow to
// answer, in every way in which that can happen in one process: nothing is
// lost and nothing refreshed twice.
func TestMidwayThroughARefresh(t *testing.T) {
	// Another quota is another manager, so that the old one has to end.
	other := strings.Replace(hubspotCaddyfile("", authAndProxy), "scopes          oauth", "refresh_quota 5 1s\n\t\t\tscopes          oauth", 1)
	for name, interrupt := range map[string]func(h *harness, hangUp context.CancelFunc){
		"the client hangs up": func(_ *harness, hangUp context.CancelFunc) { hangUp() },
		"a reload": func(h *harness, _ context.CancelFunc) {
			if err := h.Load(hubspotCaddyfile("", authAndProxy)); err != nil {
				t.Error(err)
			}
		},
		"a reload that ends the manager": func(h *harness, _ context.CancelFunc) {
			if err := h.Load(other); err != nil {
				t.Error(err)
			}
		},
		"a stop": func(h *harness, _ context.CancelFunc) {
			if err := caddy.Stop(); err != nil {
				t.Error(err)
			}
			h.WaitFor("the manager to close", func() bool { return len(pooled()) == 0 })
			closings.Wait()
			if err := h.Load(hubspotCaddyfile("", authAndProxy)); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := startCaddy(t, hubspotCaddyfile("", authAndProxy))
			h.Connect("acme", sandbox.DemoHubID)
			record := func() connection.Versioned {
				v, err := h.App().store.store.Load(t.Context(), connection.Key{App: "hbdev", User: "acme"})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			before := record().AccessToken
			h.Fault(`{"expire_access_tokens":{},"token":{"delay":"1s","times":1}}`)

			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			done := make(chan struct{})
			go func() {
				defer close(done)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, testBase+"/crm/objects/2026-09/contacts", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+testCallerKey)
				req.Header.Set("X-HubSpot-User", "acme")
				if resp, err := h.Client().Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}()
			h.WaitFor("the refresh to begin", func() bool { return record().Claim != nil })
			interrupt(h, hangUp)
			<-done
			h.WaitFor("the result to be stored", func() bool {
				v := record()
				return v.Claim == nil && !v.AccessToken.Equal(before)
			})
			if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme"); got.StatusCode != http.StatusOK {
				t.Errorf("calling afterwards: %s: %s", got.Status, got.Text)
			}
			if n := h.Sandbox.Stats().Grants[0].Refreshes; n != 1 {
				t.Errorf("%d refreshes; want 1", n)
			}
		})
	}
}
