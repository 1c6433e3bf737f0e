package caddymodule

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// leakHunt collects what must not be in any log.
type leakHunt struct {
	h       *harness
	planted map[string]string
}

// plant remembers what a link, a callback or a Set-Cookie holds.
func (l *leakHunt) plant(t *testing.T, what, text string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range []string{"code", "state", "code_challenge"} {
		if value := u.Query().Get(name); len(value) > 8 {
			l.planted[what+": "+name] = value
			found = true
		}
	}
	if !found {
		t.Fatalf("%s holds nothing to hunt for: %q", what, text)
	}
}

// No code, state, cookie or user identifier is logged, whatever happens: at
// debug, with an access log, and with errors.
func TestAuthLeaksNothing(t *testing.T) {
	const user = "leak-user-7f3a@example.com"
	h := startCaddy(t, strings.Replace(hubspotCaddyfile(authApps, authSite), "{\n\thubspot",
		"{\n\tdebug\n\tservers {\n\t\tlog_credentials\n\t\ttrace\n\t}\n\thubspot", 1))
	hunt := &leakHunt{h: h, planted: map[string]string{"client secret": testClientSecret}}

	// By link, and again.
	hub, _ := h.App().app("hbdev")
	link, err := hub.installLink(t.Context(), linkOptions{user: user})
	if err != nil {
		t.Fatal(err)
	}
	hunt.plant(t, "link", link)
	callback := h.Approve(link, sandbox.DemoHubID)
	hunt.plant(t, "callback", callback)
	for range 2 {
		h.Do(http.MethodGet, callback, nil)
	}

	// By browser, with the wrong one first.
	link, cookies := begin(t, h, "/hubspot/hbdev/connect?return_to=https://app.example.com/x", user)
	hunt.plant(t, "browser's link", link)
	_, hunt.planted["cookie"], _ = strings.Cut(cookies, "=")
	callback = h.Approve(link, sandbox.DemoHubID)
	hunt.plant(t, "browser's callback", callback)
	h.Do(http.MethodGet, callback, nil)
	h.Do(http.MethodGet, callback, nil, "Cookie", cookies)

	// From the marketplace.
	location, _ := begin(t, h, "/hubspot/hbdev/callback?step=authorize&returnUrl=https://app.hubspot.com/x", user)
	hunt.plant(t, "marketplace", location)

	// What goes wrong: methods, sizes, HubSpot, the store of nobody.
	for _, fault := range []string{`{"token":{"answer":"invalid_client","times":1}}`, `{"token":{"answer":"broken_json","times":1}}`, `{"token":{"drop":"after","times":1}}`} {
		h.Do(http.MethodPost, h.SandboxURL+"/_sandbox/faults", strings.NewReader(fault))
		if link, err = hub.installLink(t.Context(), linkOptions{user: user}); err != nil {
			t.Fatal(err)
		}
		callback = h.Approve(link, sandbox.DemoHubID)
		hunt.plant(t, fault, callback)
		h.Do(http.MethodPost, callback, nil)
		h.Do(http.MethodHead, callback, nil)
		h.Do(http.MethodGet, callback+"&x="+strings.Repeat("x", maxAuthQuery), nil)
		h.Do(http.MethodGet, callback+"&state=twice", nil)
		h.Do(http.MethodGet, strings.Replace(callback, "hbdev", "hbprod", 1), nil)
		h.Do(http.MethodGet, strings.Replace(callback, "code=", "error=", 1), nil)
		h.Do(http.MethodGet, callback, nil)
	}

	logs := h.Logs.String()
	for what, value := range hunt.planted {
		for _, form := range []string{value, url.QueryEscape(value)} {
			if i := strings.Index(logs, form); i >= 0 {
				t.Errorf("%s is in the log: …%s…", what, logs[max(0, i-200):min(len(logs), i+80)])
			}
		}
	}
	// The session header in which this test names the user is in the access
	// log, since log_credentials is on or not; our own lines have a tag.
	for line := range strings.Lines(logs) {
		if strings.Contains(line, "hubspot_auth") && strings.Contains(line, user) {
			t.Errorf("the user is in the log: %s", line)
		}
	}
	for _, want := range []string{`"outcome":"connected"`, `"outcome":"state_used"`, `"outcome":"app_misconfigured"`, `"outcome":"started"`, `"user_tag":"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(logs, `"uri":"/hubspot/hbdev/callback`) {
		t.Error("the callback is in the access log")
	}
	lines := slices.Collect(strings.Lines(logs))
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "handled request") }) {
		// Nothing else was asked for that the access log would have.
		h.Do(http.MethodGet, "/", nil)
		if !strings.Contains(h.Logs.String(), "handled request") {
			t.Error("there is no access log: the test shows nothing")
		}
	}
}
