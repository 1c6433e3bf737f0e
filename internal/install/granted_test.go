package install_test

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// The connect page asks for what the user has granted before, if it is told so:
// anybody in the HubSpot account may do that.
func TestConnectAsksForWhatWasGranted(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.ConnectInSandbox("acme", sandbox.DemoHubID, "crm.objects.companies.read")
	const all = "crm.objects.contacts.write crm.objects.companies.read"
	for _, tc := range []struct{ query, user, want string }{
		{"", "acme", all},
		{"?scopes=granted", "acme", "crm.objects.companies.read"},
		{"?scopes=granted", "newcomer", all},
	} {
		link, _ := k.Begin("/hubspot/hbdev/connect"+tc.query, tc.user)
		if got := sidecartest.QueryOf(t, link, "optional_scope"); got != tc.want || sidecartest.QueryOf(t, link, "scope") != "oauth crm.objects.contacts.read" {
			t.Errorf("%s %s: the link asks for %q, want %q", tc.user, tc.query, got, tc.want)
		}
	}
}
