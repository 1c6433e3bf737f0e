package callerapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// narrowKey is the key of a second caller.
const narrowKey = "narrow-caller-key-0123456789"

// TestFrozenCallerEndpoints: responders look and end connections while a
// user is frozen; a frozen caller does nothing.
func TestFrozenCallerEndpoints(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{{
		Name: "narrow", Keys: []secret.Text{secret.New(narrowKey)}, Deny: sidecartest.Rules(t, "* /crm/*/companies"),
	}}}})
	k.Connect("acme", sandbox.DemoHubID)
	k.Connect("globex", sandbox.DemoHubID)
	const one = "/hubspot/connections/hbdev/acme"
	requests := map[string]func() sidecartest.Answer{
		"token": func() sidecartest.Answer {
			return askForToken(k, "hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, narrowKey)
		},
		"link": func() sidecartest.Answer {
			return k.As(narrowKey, "GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme")
		},
		"list":   func() sidecartest.Answer { return k.As(narrowKey, "GET", "/hubspot/connections/hbdev") },
		"show":   func() sidecartest.Answer { return k.As(narrowKey, "GET", one) },
		"absent": func() sidecartest.Answer { return k.As(narrowKey, "GET", "/hubspot/connections/hbdev/nobody") },
	}
	end := func() sidecartest.Answer { return k.As(narrowKey, "DELETE", one) }
	for _, tc := range []struct {
		selector freeze.Selector
		stopped  string
		ends     bool
	}{
		{freeze.Selector{}, "link token", true},
		{freeze.Selector{Writes: true}, "link", true},
		{freeze.Selector{App: "hbdev"}, "link token", true},
		{freeze.Selector{User: "acme"}, "link token", true},
		{freeze.Selector{User: "acme", Writes: true}, "link", true},
		{freeze.Selector{User: "globex"}, "", true},
		{freeze.Selector{Caller: "tester"}, "", true},
		{freeze.Selector{Caller: "NARROW"}, "link token list show absent", false},
		{freeze.Selector{Caller: "narrow", App: "hbdev"}, "link token list show absent", false},
		{freeze.Selector{Caller: "narrow", App: "other"}, "", true},
		{freeze.Selector{Caller: "narrow", Writes: true}, "link", false},
		{freeze.Selector{Caller: "narrow", User: "acme"}, "link token show", false},
	} {
		k.Freeze(tc.selector)
		for name, request := range requests {
			got := request()
			switch stopped := strings.Contains(" "+tc.stopped+" ", " "+name+" "); {
			case stopped:
				sidecartest.WantOwnError(t, got, 403, "frozen")
			case name == "absent":
				e := sidecartest.WantOwnError(t, got, 404, "not_connected")
				frozenForAll := tc.selector.User == "" && (tc.selector.Caller == "" || strings.EqualFold(tc.selector.Caller, "narrow")) && tc.selector.App != "other"
				if hasLink := e.Links["connect"] != ""; hasLink == frozenForAll {
					t.Errorf("%+v: an install link for who is not connected: %v", tc.selector, hasLink)
				}
			case got.StatusCode != 200:
				t.Errorf("%+v: %s: %s %s", tc.selector, name, got.Status, got.Text)
			case name == "list" && strings.Contains(got.Text, `"acme"`) == (tc.selector == freeze.Selector{Caller: "narrow", User: "acme"}):
				t.Errorf("%+v: the list: %s", tc.selector, got.Text)
			}
		}
		if got := end(); tc.ends && got.StatusCode != http.StatusOK {
			t.Errorf("%+v: disconnecting: %s %s", tc.selector, got.Status, got.Text)
		} else if !tc.ends {
			sidecartest.WantOwnError(t, got, 403, "frozen")
		}
		k.UnfreezeAll()
		k.Connect("acme", sandbox.DemoHubID)
	}
}
