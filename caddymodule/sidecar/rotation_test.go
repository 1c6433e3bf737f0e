package sidecar_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

const newSecret = "the-new-client-secret-0123456789"

// rotating is a Caddy whose app has a new client secret at HubSpot, which is in
// the environment as well.
func rotating(t *testing.T) *caddytest.Harness {
	t.Helper()
	app := sandbox.DemoApp()
	app.ClientSecretNext = secret.New(newSecret)
	h := caddytest.New(t, caddytest.WithAdmin(), caddytest.WithSandboxApps(app))
	t.Setenv("NEW_SECRET", newSecret)
	return h
}

// withSecrets has the app hbdev have these client secrets.
func withSecrets(first, next string) string {
	secrets := "client_secret " + first
	if next != "" {
		secrets += "\n client_secret_next " + next
	}
	return strings.Replace(caddytest.Caddyfile("", caddytest.AuthAndProxy), "client_secret   {env.HUBSPOT_CLIENT_SECRET}", secrets, 1)
}

// checkNeeded says what both client secrets have been needed for since a time.
func checkNeeded(h *caddytest.Harness, since time.Time, want map[string][]secretuse.Purpose) {
	h.T.Helper()
	var status adminapi.Status
	answer := h.Admin(http.MethodGet, "/hubspot/status")
	answer.JSON(h.T, &status)
	rotation := status.Apps[0].Rotation
	if rotation == nil || rotation.CountedSince.IsZero() || len(rotation.Secrets) != len(want) {
		h.T.Fatalf("rotation: %s", answer.Text)
	}
	for setting, purposes := range want {
		var got []secretuse.Purpose
		use := rotation.Secrets[setting]
		for _, purpose := range slices.Sorted(maps.Keys(use.For)) {
			if at := use.For[purpose]; at.After(since) {
				got = append(got, purpose)
			}
			if use.For[purpose].After(use.LastNeeded) {
				h.T.Errorf("%s was last needed at %s, and for %s at %s", setting, use.LastNeeded, purpose, use.For[purpose])
			}
		}
		if !slices.Equal(got, purposes) {
			h.T.Errorf("%s was needed for %v; want %v", setting, got, purposes)
		}
	}
}

// A rotation as an operator goes through it: all that the old secret is in works
// on, and the status says when it was needed for what.
func TestRotationOfAClientSecret(t *testing.T) {
	const old, fresh = "{env.HUBSPOT_CLIENT_SECRET}", "{env.NEW_SECRET}"
	h := rotating(t)
	load := func(first, next string) {
		t.Helper()
		if err := h.Load(withSecrets(first, next)); err != nil {
			t.Fatal(err)
		}
	}
	refresh := func(user string) {
		t.Helper()
		if got := h.Admin(http.MethodPost, "/hubspot/connections/hbdev/"+user+"/refresh"); got.StatusCode != http.StatusOK {
			t.Errorf("refreshing: %s: %s", got.Status, got.Text)
		}
	}
	load(old, "")
	h.Connect("acme", sandbox.DemoHubID)
	if got := h.Admin(http.MethodGet, "/hubspot/status"); strings.Contains(got.Text, "rotation") {
		t.Errorf("status of an app with one secret: %s", got.Text)
	}
	link := h.InstallLink("hbdev", "globex")
	var issued struct{ Token string }
	h.Do(http.MethodPost, "/hubspot/tokens/hbdev", strings.NewReader(`{"userForeignIdentifier":"acme","expiresIn":900}`),
		"Authorization", "Bearer "+caddytest.CallerKey, "Content-Type", "application/json").JSON(t, &issued)

	// HubSpot does not know the new one yet.
	h.Fault(`{"client_secrets":{"valid":"client_secret"}}`)
	begun := time.Now()
	load(fresh, old)
	refresh("acme")
	checkNeeded(h, begun, map[string][]secretuse.Purpose{"client_secret": nil, "client_secret_next": {secretuse.Refresh}})
	if got := h.Do(http.MethodGet, "/crm/objects/2026-09/contacts?limit=1", nil, "Authorization", "Bearer "+issued.Token); got.StatusCode != http.StatusOK {
		t.Errorf("a user token of before: %s: %s", got.Status, got.Text)
	}
	if got := h.Do(http.MethodGet, h.Approve(link, sandbox.DemoLimitedHubID), nil); got.StatusCode != http.StatusOK {
		t.Errorf("a link of before: %s: %s", got.Status, got.Text)
	}
	all := []secretuse.Purpose{secretuse.CodeExchange, secretuse.InstallState, secretuse.Refresh, secretuse.UserToken}
	checkNeeded(h, begun, map[string][]secretuse.Purpose{
		"client_secret": nil, "client_secret_next": all,
	})

	// The old one has ended.
	h.Fault(`{"client_secrets":{"valid":"client_secret_next"}}`)
	ended := time.Now()
	refresh("globex")
	checkNeeded(h, ended, map[string][]secretuse.Purpose{"client_secret": {secretuse.Refresh}, "client_secret_next": nil})
	checkNeeded(h, begun, map[string][]secretuse.Purpose{
		"client_secret": {secretuse.Refresh}, "client_secret_next": all,
	})
	if got := h.Admin(http.MethodGet, "/metrics"); !strings.Contains(got.Text,
		`caddy_hubspot_client_secret_last_needed_timestamp_seconds{app="hbdev",for="user_token",setting="client_secret_next"} 1`) {
		t.Error("the metrics do not show what the secret was needed for")
	}
	// What is known is of the secrets, wherever they stand.
	load(old, fresh)
	checkNeeded(h, begun, map[string][]secretuse.Purpose{
		"client_secret": all, "client_secret_next": {secretuse.Refresh},
	})
	if got := h.Admin(http.MethodGet, "/hubspot/status"); strings.Contains(got.Text, newSecret) || strings.Contains(got.Text, caddytest.ClientSecret) {
		t.Error("a client secret is in the status")
	}
	load(fresh, "")
	if got := h.Admin(http.MethodGet, "/hubspot/status"); strings.Contains(got.Text, "rotation") {
		t.Errorf("status once the old one is gone: %s", got.Text)
	}
}

// Secrets in files are followed without a reload.
func TestRotationOfAClientSecretInFiles(t *testing.T) {
	h := rotating(t)
	h.WriteFile("first", caddytest.ClientSecret)
	h.WriteFile("next", "not-known-to-hubspot-0123456789")
	if err := h.Load(withSecrets("{file.DIR/first}", "{file.DIR/next}")); err != nil {
		t.Fatal(err)
	}
	h.Connect("acme", sandbox.DemoHubID)
	before := h.App("hbdev")
	h.WriteFile("first", newSecret)
	h.WriteFile("next", caddytest.ClientSecret)
	h.Sidecar().Look()
	if h.App("hbdev") == before {
		t.Fatal("the files are not followed")
	}
	checkNeeded(h, time.Time{}, map[string][]secretuse.Purpose{
		"client_secret": nil, "client_secret_next": {secretuse.CodeExchange, secretuse.InstallState},
	})
}
