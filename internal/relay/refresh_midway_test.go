package relay_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// TestHangUpMidwayThroughARefresh has the client go away while HubSpot is slow
// to answer a refresh: nothing is lost and nothing refreshed twice.
func TestHangUpMidwayThroughARefresh(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{})
	record := func() connection.Versioned {
		v, err := h.Store.Load(t.Context(), connection.Key{App: "hbdev", User: "acme"})
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
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, testBase+contacts, nil)
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
	hangUp()
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
}
