package sidecar_test

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// startSandboxed starts a Caddy in front of a sandbox with the user acme
// connected to it.
func startSandboxed(t *testing.T, caddyfile string) *caddytest.Harness {
	t.Helper()
	h := caddytest.Start(t, caddyfile)
	h.Connect("acme", sandbox.DemoHubID)
	return h
}

// impatient asks for contacts of acme, without waiting for quota.
func impatient(h *caddytest.Harness) caddytest.Answer {
	h.T.Helper()
	return h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+caddytest.CallerKey, "X-HubSpot-User", "acme", "X-HubSpot-Max-Wait", "0")
}

// otherProxy gives hubspot_proxy another setting.
func otherProxy(caddyfile string) string {
	return strings.Replace(caddyfile, "hubspot_proxy hbdev", "hubspot_proxy hbdev {\n max_wait 9s\n }", 1)
}

// TestReloadForgetsNoQuota: what was used before a reload is used after it.
func TestReloadForgetsNoQuota(t *testing.T) {
	caddyfile := caddytest.WithQuota(caddytest.Caddyfile("", caddytest.AuthAndProxy), "2 30s")
	h := startSandboxed(t, caddyfile)
	for range 2 {
		if got := impatient(h); got.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", got.Status, got.Text)
		}
	}
	sidecartest.WantOwnError(t, impatient(h), 429, "rate_limited")
	if err := h.Load(otherProxy(caddyfile)); err != nil {
		t.Fatal(err)
	}
	sidecartest.WantOwnError(t, impatient(h), 429, "rate_limited")
	if s := h.Sandbox.Stats(); s.BeyondQuota != 0 || s.Portals[0].Requests != 2 {
		t.Errorf("HubSpot was asked beyond the quota: %+v", s)
	}
}

// TestReloadKeepsLimiters: what shapes a limiter decides whether a reload
// keeps it.
func TestReloadKeepsLimiters(t *testing.T) {
	base := caddytest.Caddyfile("", caddytest.AuthAndProxy)
	for _, tc := range []struct {
		name, text string
		same       bool
	}{
		{"nothing", base, true},
		{"the refresh quota", strings.Replace(base, "client_id ", "refresh_quota 20 1s\n client_id ", 1), true},
		{"the proxy's settings", otherProxy(base), true},
		{"the quota", caddytest.WithQuota(base, "50 10s"), false},
		{"the search quota", strings.Replace(base, "client_id ", "search_quota 4 1s\n client_id ", 1), false},
		{"the client id", strings.Replace(base, "{env.HUBSPOT_CLIENT_ID}", "another-client", 1), false},
		{"the API", strings.Replace(base, "api       SANDBOX", "api https://api.hubapi.com", 1), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := caddytest.Start(t, base)
			before := hub(h).Limiter
			if err := h.Load(tc.text); err != nil {
				t.Fatal(err)
			}
			if same := hub(h).Limiter == before; same != tc.same {
				t.Errorf("same limiter: %v, want %v", same, tc.same)
			}
			h.WaitFor("the pool to hold one limiter", func() bool { return caddytest.Pooled()["quota"] == 1 })
		})
	}
}

// TestWaitersOutliveAReload has a request wait for quota while the config is
// loaded again.
func TestWaitersOutliveAReload(t *testing.T) {
	caddyfile := caddytest.WithQuota(caddytest.Caddyfile("", caddytest.AuthAndProxy), "1 2s")
	h := startSandboxed(t, caddyfile)
	if got := h.Get(contacts, "acme"); got.StatusCode != http.StatusOK {
		t.Fatal(got.Status)
	}
	done := make(chan caddytest.Answer, 1)
	go func() { done <- h.Get(contacts, "acme") }()
	h.WaitFor("the request to be in the queue", func() bool { return waitingForQuota() == 1 })
	if err := h.Load(otherProxy(caddyfile)); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-done:
		if got.StatusCode != http.StatusOK {
			t.Errorf("%s %s", got.Status, got.Text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the request was not answered")
	}
	if s := h.Sandbox.Stats(); s.BeyondQuota != 0 {
		t.Errorf("%d requests beyond the quota", s.BeyondQuota)
	}
}

// waitingForQuota is how many requests of this process wait in a limiter.
func waitingForQuota() int {
	stacks := make([]byte, 8<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "quota.(*bucket).wait(")
}
