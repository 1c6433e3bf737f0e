package callerapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// A static app is not installed, and whoever tries is told what to do instead.
func TestStaticAppIsNotInstalled(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Apps: []appconfig.Resolved{sidecartest.App(), sidecartest.Static()}}})
	if got := k.Get("/hubspot/auth/reports?userForeignIdentifier=acme", ""); got.StatusCode != 404 || !strings.Contains(got.Text, "static app") {
		t.Errorf("a link: %s %s", got.Status, got.Text)
	}
	got := k.Do(http.MethodPost, "/hubspot/tokens/reports", strings.NewReader(`{"userForeignIdentifier":"acme"}`),
		"Authorization", "Bearer "+sidecartest.CallerKey, "Content-Type", "application/json")
	if got.StatusCode != 400 || !strings.Contains(got.Text, "static app") {
		t.Errorf("a user token: %s %s", got.Status, got.Text)
	}
	if got := k.Get("/hubspot/connections/reports", ""); got.StatusCode != 200 {
		t.Errorf("listing: %s %s", got.Status, got.Text)
	}
}
