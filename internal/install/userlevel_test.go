package install_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// userLevel is a kit whose app hbdev is a user-level one.
func userLevel(t *testing.T) *installtest.Kit {
	t.Helper()
	registered := sandbox.DemoApp()
	registered.UserLevel = true
	settings := sidecartest.App()
	settings.UserLevel = true
	return installtest.New(t, installtest.Config{Config: sidecartest.Config{
		Apps: []appconfig.Resolved{settings}, Sandbox: sandbox.Options{Apps: []sandbox.App{registered}},
	}})
}

// A connection of a user-level app stays with the person who made it.
func TestAUserLevelConnectionIsOnePersons(t *testing.T) {
	t.Parallel()
	k := userLevel(t)
	install := func(user, query, person string, hubID int64) sidecartest.Answer {
		t.Helper()
		link := k.InstallLink("hbdev", user, query) + "&_sandbox_person=" + person
		return k.Do(http.MethodGet, k.Approve(link, hubID), nil)
	}
	check := func(user string, person int64) {
		t.Helper()
		var shown callerapi.View
		k.Get("/hubspot/connections/hbdev/"+user, "").JSON(t, &shown)
		if shown.HubUserID != person || shown.HubID != sandbox.DemoHubID {
			t.Errorf("%s: %+v", user, shown)
		}
	}
	events := new(events)
	k.App("hbdev").Manager.SetObserver(events)
	for user, person := range map[string]string{"ann": "101", "bob": "102"} {
		if got := install(user, "", person, sandbox.DemoHubID); got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s: %s", user, got.Status, got.Text)
		}
	}
	check("ann", 101)
	check("bob", 102)
	if slices.Contains(events.kinds(), connection.EventPortalShared) {
		t.Error("two persons of one portal are reported")
	}
	// The same person again is no change.
	if got := install("ann", "", "101", sandbox.DemoHubID); got.StatusCode != http.StatusOK {
		t.Errorf("the same person again: %s: %s", got.Status, got.Text)
	}
	before := k.Stats()
	if got := install("ann", "", "102", sandbox.DemoHubID); got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, "another person") || strings.Contains(got.Text, "another HubSpot account") {
		t.Errorf("another person: %s: %s", got.Status, got.Text)
	}
	if got := install("ann", "", "101", sandbox.DemoLimitedHubID); got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, "another HubSpot account") {
		t.Errorf("another portal: %s: %s", got.Status, got.Text)
	}
	check("ann", 101)
	if got := k.Stats(); len(got.Grants) < len(before.Grants) || slices.ContainsFunc(got.Grants, func(g sandbox.GrantStats) bool { return g.Status != "active" }) {
		t.Errorf("a stray grant was ended: %+v", got.Grants)
	}
	if got := install("ann", "&allow_portal_change=true", "103", sandbox.DemoHubID); got.StatusCode != http.StatusOK {
		t.Errorf("another person, allowed: %s: %s", got.Status, got.Text)
	}
	check("ann", 103)
}

// Of an account's app, it does not matter who has installed it.
func TestAnAccountsConnectionIsNobodys(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	for _, person := range []string{"101", "102"} {
		link := k.InstallLink("hbdev", "acme", "") + "&_sandbox_person=" + person
		if got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil); got.StatusCode != http.StatusOK {
			t.Errorf("as %s: %s: %s", person, got.Status, got.Text)
		}
	}
	if got := k.Get("/hubspot/connections/hbdev/acme", ""); strings.Contains(got.Text, "hubUserId") {
		t.Errorf("shown with a person: %s", got.Text)
	}
}
