package relay_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// Calls that HubSpot answered at an endpoint that it ends are counted by caller,
// and say so in the answer where that is wanted.
func TestEndings(t *testing.T) {
	t.Parallel()
	for _, announced := range []bool{false, true} {
		h := start(t, sidecartest.Config{}, func(c *relay.Config) { c.DeprecationHeaders = announced })
		h.ConnectInSandbox("acme", sandbox.DemoHubID)
		for _, path := range []string{"/crm/v3/objects/contacts", "/crm/v3/objects/contacts?limit=1", "/as/acme/crm/v3/objects/contacts"} {
			got := h.Get(path, "acme")
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s: %s", path, got.Status, got.Text)
			}
			if said := got.Header.Get("Deprecation") == "@1819756800" && strings.Contains(got.Header.Get("Link"), `rel="deprecation"`); said != announced {
				t.Errorf("announced: %v; header: %v", announced, got.Header)
			}
		}
		// Not HubSpot's answer, and not an endpoint with an end.
		h.Get("/crm/v3/objects/contacts", "nobody")
		h.Get("/account-info/details", "acme")
		uses := h.Metrics.Endings.Uses()
		if len(uses) != 1 || uses[0].App != "hbdev" || uses[0].Caller != "tester" || uses[0].Family != "/*/v3/*" || uses[0].Calls != 3 {
			t.Errorf("uses: %+v", uses)
		}
	}
}
