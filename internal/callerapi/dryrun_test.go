package callerapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// A policy on trial refuses nothing, and what it would have refused is noted.
func TestDryRun(t *testing.T) {
	t.Parallel()
	const trial, elsewhere = "trial-key-0123456789-0123", "elsewhere-key-0123456789"
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{
		{Name: "trial", Keys: []secret.Text{secret.New(trial)}, Users: []string{"globex-*"}, DryRun: true},
		{Name: "elsewhere", Keys: []secret.Text{secret.New(elsewhere)}, Apps: []string{"hbprod"}, DryRun: true},
	}}})
	k.Connect("acme", sandbox.DemoHubID)
	k.Connect("globex-1", sandbox.DemoHubID)
	const message = "dry_run: a request would have been refused"
	for _, tc := range []struct{ name, target, key, noted string }{
		{"install link", "/hubspot/auth/hbdev?userForeignIdentifier=acme", trial, "user"},
		{"install link for another app", "/hubspot/auth/hbdev?userForeignIdentifier=acme", elsewhere, "app"},
		{"connection", "/hubspot/connections/hbdev/acme", trial, "user"},
		{"connection of a permitted user", "/hubspot/connections/hbdev/globex-1", trial, ""},
		{"list", "/hubspot/connections/hbdev", trial, "user"},
	} {
		before := len(k.LogLines(message))
		got := k.As(tc.key, http.MethodGet, tc.target)
		if got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", tc.name, got.Status, got.Text)
		}
		lines := k.LogLines(message)[before:]
		want := 0
		if tc.noted != "" {
			want = 1
		}
		if len(lines) != want || want == 1 && !strings.Contains(lines[0], `"dimension":"`+tc.noted+`"`) {
			t.Errorf("%s: noted %q, want %q", tc.name, lines, tc.noted)
		}
		if tc.name == "list" && !strings.Contains(got.Text, `"acme"`) {
			t.Errorf("a user is hidden: %s", got.Text)
		}
	}
	// An app that is not there is no label of a metric.
	before := len(k.LogLines(message))
	sidecartest.WantOwnError(t, k.As(elsewhere, http.MethodGet, "/hubspot/connections/no-such-app"), 403, "caller_forbidden")
	if lines := k.LogLines(message)[before:]; len(lines) != 0 {
		t.Errorf("noted %q", lines)
	}
}
