package caddymodule

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// authApps are apps beside hbdev: one on the same redirect address under
// another host name, one that is public, and one without install links.
const authApps = `
	app hbprod {
		client_id     {env.HUBSPOT_CLIENT_ID}
		client_secret {env.HUBSPOT_CLIENT_SECRET}
		scopes        oauth crm.objects.contacts.read
		redirect_uri  https://app.example.com/hubspot/hbprod/callback
	}
	app nolinks {
		client_id     {env.HUBSPOT_CLIENT_ID}
		client_secret {env.HUBSPOT_CLIENT_SECRET}
	}`

// authSite has a session header in place of a real session.
const authSite = `
	log
	hubspot_auth {
		user      {http.request.header.X-Test-Session}
		return_to https://app.example.com/*
		rate      1000 1s
	}
	respond "passed on" 418`

// startAuth starts a Caddy with hubspot_auth.
func startAuth(t *testing.T, options ...harnessOption) *harness {
	t.Helper()
	return startCaddy(t, hubspotCaddyfile(authApps, authSite), options...)
}

// setCookies returns the cookies of an answer as a Cookie header.
func setCookies(a answer) string {
	var pairs []string
	for _, c := range a.Cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// begin starts an install in a browser of user and returns the link to
// HubSpot and the browser's cookies.
func begin(t *testing.T, h *harness, target, user string) (link, cookies string) {
	t.Helper()
	got := h.Do(http.MethodGet, target, nil, "X-Test-Session", user)
	if got.StatusCode != http.StatusFound {
		t.Fatalf("GET %s: %s: %s", target, got.Status, got.Text)
	}
	return got.Header.Get("Location"), setCookies(got)
}

// sealed makes a state as the app itself would.
func sealed(t *testing.T, h *harness, app string, change func(*oauthstate.State)) string {
	t.Helper()
	hub, ok := h.App().app(app)
	if !ok {
		t.Fatalf("no app %s", app)
	}
	sealer, err := hub.sealer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := oauthstate.State{User: "acme", Verifier: hubspot.NewVerifier(), Nonce: rand.Text(), IssuedAt: time.Now()}
	change(&st)
	text, err := sealer.Seal(st)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tokenCalls is how often the sandbox's token endpoint was asked.
func tokenCalls(t *testing.T, h *harness) int64 {
	t.Helper()
	var stats sandbox.Stats
	h.Do(http.MethodGet, h.SandboxURL+"/_sandbox/stats", nil).JSON(t, &stats)
	var n int64
	for endpoint, statuses := range stats.Endpoints {
		if strings.HasSuffix(endpoint, "/token") {
			for _, count := range statuses {
				n += count
			}
		}
	}
	return n
}

// checkBrowserAnswer checks what every answer to a browser must have.
func checkBrowserAnswer(t *testing.T, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := a.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "script") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy %q permits scripts", policy)
	}
}
