package relay

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
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
	h := startCaddy(t, withQuota(withAPI(hubspotCaddyfile("", site), api), "100000 1s"))
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
	connectTo(t, hub, user, token)
}

func connectTo(t testing.TB, hub *hubApp, user, token string) {
	t.Helper()
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

// connectExpired stores a connection whose access token has ended.
func connectExpired(t testing.TB, h *harness, user string) {
	t.Helper()
	record := connection.Record{
		Key:    connection.Key{App: "hbdev", User: user},
		Status: connection.StatusActive, HubID: testHubID, Generation: rand.Text(), WriteID: rand.Text(),
		AccessToken: secret.New(testToken), RefreshToken: secret.New(testRefreshToken),
		IssuedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(-30 * time.Minute),
		ConnectedAt: time.Now().Add(-time.Hour), UpdatedAt: time.Now().Add(-time.Hour),
	}
	if _, err := h.App().store.store.Save(t.Context(), record, 0); err != nil {
		t.Fatalf("storing a connection of %s: %v", user, err)
	}
}

// raw sends a request head as it is, with the caller's key unless the header
// has an Authorization, and reads the answer.
func (h *harness) raw(requestLine string, header ...string) answer {
	h.t.Helper()
	if !hasLine(header, "Authorization:") {
		header = append([]string{"Authorization: Bearer " + testCallerKey}, header...)
	}
	return h.rawWithoutKey(requestLine, header...)
}

// rawWithoutKey is raw without a key.
func (h *harness) rawWithoutKey(requestLine string, header ...string) answer {
	h.t.Helper()
	if !hasLine(header, "Host:") {
		header = append([]string{"Host: localhost"}, header...)
	}
	client := dialWire(h.t, h.Addr())
	client.write(h.t, requestLine+" HTTP/1.1\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n")
	method, _, _ := strings.Cut(requestLine, " ")
	resp, err := http.ReadResponse(client.r, &http.Request{Method: method})
	return h.read(resp, err)
}

func hasLine(header []string, name string) bool {
	return slices.ContainsFunc(header, func(line string) bool { return strings.HasPrefix(line, name) })
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
