package caddymodule

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// What tests of the proxy connect their users with.
const (
	testToken        = "CTestAccessToken0000000000000001"
	testRefreshToken = "na1-test-refresh-token-0000-0001"
	testHubID        = 4711
)

// withAPI has a Caddyfile call another API than the sandbox.
func withAPI(caddyfile, api string) string {
	caddyfile = strings.Replace(caddyfile, "api       SANDBOX", "api       "+api, 1)
	return strings.Replace(caddyfile, "authorize SANDBOX", "authorize "+api, 1)
}

// startProxy starts a Caddy with hubspot_proxy in front of api, with the user
// acme connected.
func startProxy(t *testing.T, api, site string) *harness {
	t.Helper()
	h := startCaddy(t, withAPI(hubspotCaddyfile("", site), api))
	connect(t, h, "acme", testToken)
	return h
}

// connect stores a connection as an install would leave it.
func connect(t testing.TB, h *harness, user, token string) {
	t.Helper()
	hub, ok := h.App().app("hbdev")
	if !ok {
		t.Fatal("no app hbdev")
	}
	_, err := hub.manager.Connect(t.Context(), connection.Install{
		User: user,
		Grant: hubspot.Grant{
			AccessToken: secret.New(token), RefreshToken: secret.New(testRefreshToken),
			HubID: testHubID, Scopes: []string{"oauth"}, ExpiresIn: 30 * time.Minute,
		},
		Nonce: rand.Text(), NonceUntil: time.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatalf("connecting %s: %v", user, err)
	}
}

// ownError is the body of an error of the sidecar.
type ownError struct {
	Status, Category, SubCategory, Message, CorrelationID, PolicyName string

	Context map[string][]string
	Links   map[string]string
}

// wantOwnError checks that an answer is an error of the sidecar's own.
func wantOwnError(t *testing.T, a answer, status int, kind string) ownError {
	t.Helper()
	var e ownError
	if err := json.Unmarshal([]byte(a.Text), &e); err != nil {
		t.Fatalf("%s with %q: %v", a.Status, a.Text, err)
	}
	if a.StatusCode != status || e.SubCategory != kind || e.Category != "SIDECAR" || e.Status != "error" {
		t.Errorf("%s %s, want %d %s", a.Status, a.Text, status, kind)
	}
	if e.Message == "" || len(e.CorrelationID) != 36 || !strings.HasPrefix(a.Header.Get("Proxy-Status"), "caddy-hubspot; error=") {
		t.Errorf("incomplete: %s, Proxy-Status %q", a.Text, a.Header.Get("Proxy-Status"))
	}
	return e
}
