package caddymodule

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// TestFrozenCallerEndpoints: responders look and end connections while a
// user is frozen; a frozen caller does nothing.
func TestFrozenCallerEndpoints(t *testing.T) {
	t.Setenv("NARROW_KEY", frozenCallerKey)
	h := startCaddy(t, hubspotCaddyfile(strings.Replace(twoCallers, "users globex", "users *", 1), authAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	h.Connect("globex", sandbox.DemoHubID)
	const one = "/hubspot/connections/hbdev/acme"
	requests := map[string]func() answer{
		"token": func() answer {
			return h.askForToken("hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, frozenCallerKey)
		},
		"link":   func() answer { return h.narrow("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme", "") },
		"list":   func() answer { return h.narrow("GET", "/hubspot/connections/hbdev", "") },
		"show":   func() answer { return h.narrow("GET", one, "") },
		"absent": func() answer { return h.narrow("GET", "/hubspot/connections/hbdev/nobody", "") },
	}
	end := func() answer { return h.narrow("DELETE", one, "") }
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
		h.freeze(tc.selector)
		for name, request := range requests {
			got := request()
			switch stopped := strings.Contains(" "+tc.stopped+" ", " "+name+" "); {
			case stopped:
				wantOwnError(t, got, 403, "frozen")
			case name == "absent":
				e := wantOwnError(t, got, 404, "not_connected")
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
		if got := end(); tc.ends && got.StatusCode != http.StatusNoContent {
			t.Errorf("%+v: disconnecting: %s %s", tc.selector, got.Status, got.Text)
		} else if !tc.ends {
			wantOwnError(t, got, 403, "frozen")
		}
		h.unfreezeAll()
		h.Connect("acme", sandbox.DemoHubID)
	}
}

// TestFrozenInstalls begins and ends installs in a browser.
func TestFrozenInstalls(t *testing.T) {
	h := startAuth(t)
	connect := func(user string) answer {
		return h.Do("GET", "/hubspot/hbdev/connect", nil, "X-Test-Session", user)
	}
	marketplace := func() answer {
		back := url.QueryEscape("https://app.hubspot.com/x")
		return h.Do("GET", "/hubspot/hbdev/callback?step=authorize&returnUrl="+back, nil, "X-Test-Session", "acme")
	}
	link, cookies := begin(t, h, "/hubspot/hbdev/connect", "acme")
	callback := h.Approve(link, sandbox.DemoHubID)
	for _, s := range []freeze.Selector{{User: "acme"}, {User: "acme", Writes: true}, {App: "hbdev"}, {}} {
		h.freeze(s)
		for name, got := range map[string]answer{"connect": connect("acme"), "marketplace": marketplace()} {
			checkBrowserAnswer(t, got)
			if got.StatusCode != 403 || !strings.Contains(got.Text, "Connecting is stopped at the moment") || len(got.Cookies()) > 0 {
				t.Errorf("%+v: %s: %s %s", s, name, got.Status, got.Text)
			}
		}
		before := tokenCalls(t, h)
		got := h.Do("GET", callback, nil, "Cookie", cookies, "Accept", "application/json")
		wantOwnError(t, got, 403, "frozen")
		if tokenCalls(t, h) != before {
			t.Errorf("%+v: the code was redeemed", s)
		}
		// A state of nobody's tells nothing.
		forged := sealed(t, h, "hbprod", func(st *oauthstate.State) { st.App = "hbprod" })
		wantOwnError(t, h.Do("GET", "/hubspot/hbdev/callback?code=x&state="+forged, nil, "Accept", "application/json"), 400, "bad_request")
		h.unfreezeAll()
	}
	h.freeze(freeze.Selector{User: "globex"})
	h.freeze(freeze.Selector{Caller: "tester"})
	if got := connect("acme"); got.StatusCode != http.StatusFound {
		t.Errorf("another user is frozen: %s", got.Status)
	}
	if got := connect("globex"); got.StatusCode != 403 {
		t.Errorf("connecting a frozen user: %s", got.Status)
	}
	got := h.Do("GET", callback, nil, "Cookie", cookies, "Accept", "application/json")
	if got.StatusCode != http.StatusOK {
		t.Errorf("ending the install after all was lifted: %s %s", got.Status, got.Text)
	}
}
