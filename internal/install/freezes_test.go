package install_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// TestFrozenInstalls begins and ends installs in a browser.
func TestFrozenInstalls(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	connect := func(user string) sidecartest.Answer {
		return k.Do("GET", "/hubspot/hbdev/connect", nil, installtest.SessionHeader, user)
	}
	marketplace := func() sidecartest.Answer {
		back := url.QueryEscape("https://app.hubspot.com/x")
		return k.Do("GET", "/hubspot/hbdev/callback?step=authorize&returnUrl="+back, nil, installtest.SessionHeader, "acme")
	}
	link, cookies := k.Begin("/hubspot/hbdev/connect", "acme")
	callback := k.Approve(link, sandbox.DemoHubID)
	for _, s := range []freeze.Selector{{User: "acme"}, {User: "acme", Writes: true}, {App: "hbdev"}, {}} {
		k.Freeze(s)
		for name, got := range map[string]sidecartest.Answer{"connect": connect("acme"), "marketplace": marketplace()} {
			installtest.CheckBrowserAnswer(t, got)
			if got.StatusCode != 403 || !strings.Contains(got.Text, "Connecting is stopped at the moment") || len(got.Cookies()) > 0 {
				t.Errorf("%+v: %s: %s %s", s, name, got.Status, got.Text)
			}
		}
		before := k.TokenCalls()
		got := k.Do("GET", callback, nil, "Cookie", cookies, "Accept", "application/json")
		sidecartest.WantOwnError(t, got, 403, "frozen")
		if got := k.Do("GET", callback, nil, "Cookie", cookies); strings.Contains(got.Text, "href=") {
			t.Errorf("%+v: the page offers to start again: %s", s, got.Text)
		}
		if k.TokenCalls() != before {
			t.Errorf("%+v: the code was redeemed", s)
		}
		// A state of nobody's tells nothing.
		forged := k.Sealed("hbprod", func(st *oauthstate.State) { st.App = "hbprod" })
		sidecartest.WantOwnError(t, k.Do("GET", "/hubspot/hbdev/callback?code=x&state="+forged, nil, "Accept", "application/json"), 400, "bad_request")
		k.UnfreezeAll()
	}
	k.Freeze(freeze.Selector{User: "globex"})
	k.Freeze(freeze.Selector{Caller: "tester"})
	if got := connect("acme"); got.StatusCode != http.StatusFound {
		t.Errorf("another user is frozen: %s", got.Status)
	}
	if got := connect("globex"); got.StatusCode != 403 {
		t.Errorf("connecting a frozen user: %s", got.Status)
	}
	got := k.Do("GET", callback, nil, "Cookie", cookies, "Accept", "application/json")
	if got.StatusCode != http.StatusOK {
		t.Errorf("ending the install after all was lifted: %s %s", got.Status, got.Text)
	}

	// Frozen is no reason of the contract with the application, so that the
	// browser is not sent there by itself.
	k.UnfreezeAll()
	callback = k.Approve(k.InstallLink("hbdev", "acme", "&return_to=https://app.example.com/x"), sandbox.DemoHubID)
	k.Freeze(freeze.Selector{})
	got = k.Do("GET", callback, nil)
	if got.StatusCode != http.StatusForbidden || !strings.Contains(got.Text, `href="https://app.example.com/x"`) {
		t.Errorf("the page shows no way back: %s %s", got.Status, got.Text)
	}
}
