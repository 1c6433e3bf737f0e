package install_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// What HubSpot or the store do wrong at the end of an install has a page.
func TestAuthExchangeFailures(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	fault := func(text string) func() { return func() { k.Fault(text) } }
	tests := map[string]struct {
		prepare func()
		query   string
		status  int
		sub     string
		page    string
	}{
		"unknown code":    {func() {}, "code=na1-none", 400, "bad_request", "no longer accepts"},
		"invalid client":  {fault(`{"token":{"answer":"invalid_client","times":2}}`), "", 503, "app_misconfigured", "not set up"},
		"server error":    {fault(`{"token":{"answer":"server_error","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"HTML error":      {fault(`{"token":{"answer":"gateway_error","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"rate limited":    {fault(`{"token":{"answer":"rate_limited","retry_after":7,"times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"broken JSON":     {fault(`{"token":{"answer":"broken_json","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"connection lost": {fault(`{"token":{"drop":"before","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			defer k.Do(http.MethodDelete, k.SandboxURL+"/_sandbox/faults", nil)
			for _, accept := range []string{"text/html", "application/json"} {
				callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
				if tt.query != "" {
					callback = sidecartest.RedirectURI + "?" + tt.query + "&state=" + sidecartest.QueryOf(t, callback, "state")
				}
				if accept == "text/html" {
					tt.prepare()
				}
				got := k.Do(http.MethodGet, callback, nil, "Accept", accept)
				want := tt.page
				if accept == "application/json" {
					want = `"subCategory":"` + tt.sub + `"`
				}
				if got.StatusCode != tt.status || !strings.Contains(got.Text, want) || got.Header.Get("Location") != "" {
					t.Errorf("%s: %s: %s", accept, got.Status, got.Text)
				}
				// A page has a way on, unless going on would not help.
				way := strings.Contains(got.Text, `href="/hubspot/hbdev/connect"`)
				if accept == "text/html" && way == (tt.sub == "app_misconfigured") {
					t.Errorf("the page has a way on: %v", way)
				}
				if name == "rate limited" && got.Header.Get("Retry-After") != "7" {
					t.Errorf("%s: Retry-After is %q", accept, got.Header.Get("Retry-After"))
				}
				installtest.CheckBrowserAnswer(t, got)
			}
		})
	}
	if got := k.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusNotFound {
		t.Errorf("there is a connection: %s", got.Text)
	}
}

// answering is a HubSpot that answers everything in one way.
type answering struct {
	status int
	body   string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// An answer that speaks of one account is quoted, and one that is not
// HubSpot's is not taken for HubSpot's. Both are a HubSpot that is not
// available, to the application.
func TestExchangeRefusals(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	for _, tc := range []struct {
		answer  answering
		outcome string
		texts   []string // of the page and of the JSON
	}{
		{answering{400, `{"status":"BAD_MOOD","message":"not today"}`}, "hubspot_refused", []string{"not today (BAD_MOOD)", `"error_description":["not today"]`}},
		{answering{400, `{"message":"Hub 5 is unknown to this Hublet","correctHublet":"eu1"}`}, "hubspot_refused",
			[]string{"Hub 5 is unknown to this Hublet (wrong_hublet)", `"error":["wrong_hublet"]`}},
		{answering{400, `{"status":"BAD_MOOD"}`}, "hubspot_refused", []string{"BAD_MOOD", `"error":["BAD_MOOD"]`}},
		{answering{403, "<html>blocked</html>"}, "in_between", []string{"egress proxy", "egress proxy"}},
	} {
		for i, accept := range []string{"text/html", "application/json"} {
			callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
			back := k.Approve(k.InstallLink("hbdev", "acme", "&return_to=https://app.example.com/"), sandbox.DemoHubID)
			client := k.App("hbdev").Client
			well := client.HTTP
			client.HTTP = &http.Client{Transport: tc.answer}
			got := k.Do(http.MethodGet, callback, nil, "Accept", accept)
			location := k.Do(http.MethodGet, back, nil).Header.Get("Location")
			client.HTTP = well
			if got.StatusCode != http.StatusBadGateway || !strings.Contains(got.Text, tc.texts[i]) || strings.Contains(got.Text, "html>blocked") {
				t.Errorf("%s: %s: %s", tc.answer.body, got.Status, got.Text)
			}
			if !strings.Contains(k.Logs.String(), `"outcome":"`+tc.outcome+`"`) {
				t.Errorf("%s: the log has no outcome %s", tc.answer.body, tc.outcome)
			}
			if !strings.HasSuffix(location, "reason=hubspot_unavailable") {
				t.Errorf("%s: back to %q", tc.answer.body, location)
			}
			installtest.CheckBrowserAnswer(t, got)
		}
	}
}

func TestAuthStoreFailure(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
	k.Store.Break()
	got := k.Do(http.MethodGet, callback, nil)
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "cannot be stored") {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	if n := k.TokenCalls(); n != 0 {
		t.Errorf("HubSpot was asked %d times though the store does not answer", n)
	}
	if got := k.Get("/hubspot/connections/hbdev", ""); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store_unavailable") {
		t.Errorf("list: %s: %s", got.Status, got.Text)
	}
}

// A code works once. A store that says that it will not take the connection is
// believed before the code is spent.
func TestCodeIsNotSpentInVain(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
	k.Store.Deny()
	got := k.Do(http.MethodGet, callback, nil)
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "does not permit") {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	if n := k.TokenCalls(); n != 0 {
		t.Errorf("HubSpot was asked %d times though the connection cannot be stored", n)
	}
}

// An install that fails goes back to the application, with a word that says
// why, and somebody is told.
func TestFailuresGoBack(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.Connect("moved", sandbox.DemoHubID)
	const back = "https://app.example.com/settings?hubspot=denied&app=old&reason=x&tab=3#crm"
	link := func(user string) string {
		return k.InstallLink("hbdev", user, "&return_to="+url.QueryEscape(back))
	}
	approved := func(user string, hubID int64) string { return k.Approve(link(user), hubID) }
	state := func(change func(*oauthstate.State)) string {
		return sidecartest.RedirectURI + "?code=c&state=" + k.Sealed("hbdev", func(st *oauthstate.State) {
			st.ReturnTo = back
			change(st)
		})
	}
	used := approved("used", sandbox.DemoHubID)
	k.Do(http.MethodGet, used, nil)
	for _, tc := range []struct {
		reason   string
		callback string
		fault    string
		breaks   bool
	}{
		{"denied", k.Do(http.MethodGet, link("acme")+"&_sandbox_deny=access_denied", nil).Header.Get("Location"), "", false},
		{"bad_code", state(func(*oauthstate.State) {}), "", false},
		{"bad_code", strings.Replace(state(func(*oauthstate.State) {}), "code=c&", "", 1), "", false},
		{"expired", state(func(st *oauthstate.State) { st.IssuedAt = st.IssuedAt.Add(-oauthstate.Lifetime - time.Second) }), "", false},
		{"used", used, "", false},
		{"other_browser", state(func(st *oauthstate.State) { st.BrowserHash = install.BrowserHash("x") }), "", false},
		{"portal_change", approved("moved", sandbox.DemoLimitedHubID), "", false},
		{"app_misconfigured", approved("acme", sandbox.DemoHubID), `{"token":{"answer":"invalid_client","times":1}}`, false},
		{"hubspot_unavailable", approved("acme", sandbox.DemoHubID), `{"token":{"answer":"server_error","times":1}}`, false},
		{"store_unavailable", approved("acme", sandbox.DemoHubID), "", true},
	} {
		k.Failed()
		if tc.fault != "" {
			k.Fault(tc.fault)
		}
		if tc.breaks {
			k.Store.Break()
		}
		got := k.Do(http.MethodGet, tc.callback, nil)
		want := "https://app.example.com/settings?tab=3&hubspot=failed&app=hbdev&reason=" + tc.reason + "#crm"
		if got.StatusCode != http.StatusFound || got.Header.Get("Location") != want || got.Text != "" {
			t.Errorf("%s: %s to %q: %s", tc.reason, got.Status, got.Header.Get("Location"), got.Text)
		}
		installtest.CheckBrowserAnswer(t, got)
		if failed := k.Failed(); !slices.Equal(failed, []string{"hbdev " + tc.reason}) {
			t.Errorf("%s: told of %q", tc.reason, failed)
		}
	}
}

// A browser is never sent where the allow-list does not let it, and nobody is
// told of what is no install.
func TestFailuresGoNowhereElse(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	expired := func(st *oauthstate.State) {
		st.ReturnTo, st.IssuedAt = "https://evil.example/", st.IssuedAt.Add(-time.Hour)
	}
	for name, tc := range map[string]struct{ query, failed string }{
		"not allowed":   {"code=c&state=" + k.Sealed("hbdev", func(st *oauthstate.State) { st.ReturnTo = "https://evil.example/" }), "hbdev bad_code"},
		"and expired":   {"code=c&state=" + k.Sealed("hbdev", expired), "hbdev expired"},
		"and denied":    {"error=access_denied&state=" + k.Sealed("hbdev", expired), "hbdev denied"},
		"another app's": {"code=c&state=" + k.Sealed("hbprod", func(st *oauthstate.State) { st.ReturnTo = "https://app.example.com/" }), ""},
		"garbage":       {"code=c&state=garbage&return_to=https://app.example.com/", ""},
		"none":          {"code=c&return_to=https://app.example.com/", ""},
	} {
		k.Failed()
		got := k.Do(http.MethodGet, "/hubspot/hbdev/callback?"+tc.query, nil)
		if got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" || strings.Contains(got.Text, "evil.example") ||
			!strings.Contains(got.Text, `href="/hubspot/hbdev/connect"`) {
			t.Errorf("%s: %s to %q: %s", name, got.Status, got.Header.Get("Location"), got.Text)
		}
		if failed := strings.Join(k.Failed(), ","); failed != tc.failed {
			t.Errorf("%s: told of %q", name, failed)
		}
	}
}

// HubSpot's redirect that arrives without the beginning of its path, which a
// proxy in front has taken off, is for a person, and says who has to mend what.
func TestMisdirectedCallback(t *testing.T) {
	t.Parallel()
	app := sidecartest.App()
	app.RedirectURI = "http://localhost/api/hubspot/hbdev/callback"
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Apps: []appconfig.Resolved{app}}})
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	callback := strings.Replace(k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID), "/api", "", 1)
	got := k.Do(http.MethodGet, callback, nil, "Accept", browser)
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.Text, "redirect_uri") || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	installtest.CheckBrowserAnswer(t, got)
	if k.Skipped() != 1 || k.TokenCalls() != 0 {
		t.Errorf("kept out of the access log %d times, HubSpot was asked %d times", k.Skipped(), k.TokenCalls())
	}
	for _, path := range []string{"/hbdev/connect", "/hubspot/hbdev/callback?step=authorize&returnUrl=https://app.hubspot.com/"} {
		got = k.Do(http.MethodGet, path, nil, "Accept", browser)
		if got.StatusCode != http.StatusNotFound || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s: %s", path, got.Status, got.Text)
		}
	}
	// What may be somebody else's is.
	for _, path := range []string{"/connect", "/other/connect", "/x/hbdev/connect", "/hbdev/connect/x"} {
		if got := k.Do(http.MethodGet, path, nil, "Accept", browser); got.StatusCode != installtest.Teapot {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	back := strings.Replace(k.Approve(k.InstallLink("hbdev", "acme", "&return_to=https://app.example.com/x"), sandbox.DemoHubID), "/api", "", 1)
	got = k.Do(http.MethodGet, back, nil, "Accept", browser)
	if want := "https://app.example.com/x?hubspot=failed&app=hbdev&reason=app_misconfigured"; got.Header.Get("Location") != want {
		t.Errorf("with an address to return to: %s to %q", got.Status, got.Header.Get("Location"))
	}
	for name, header := range map[string][]string{
		"a program":         {"Accept", "application/json"},
		"a browser's fetch": {"Accept", "*/*"},
		"a caller":          {"Accept", browser, "Authorization", "Bearer " + sidecartest.CallerKey},
	} {
		if got := k.Do(http.MethodGet, callback, nil, header...); got.StatusCode != installtest.Teapot {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
	for _, path := range []string{"/hubspot/hbdev/callback", "/ot/hbdev/callback?code=c&state=s", "/?code=c&state=s", "/callbac?code=c&state=s"} {
		if got := k.Do(http.MethodGet, path, nil, "Accept", browser); got.StatusCode != installtest.Teapot {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
}

// A site for browsers has nothing that wants a caller, however it is spelt.
func TestBrowsersOnly(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Browsers: true})
	for _, target := range []string{
		"/hubspot/auth/hbdev?userForeignIdentifier=acme", "/hubspot/connections/hbdev", "/hubspot/connections/hbdev/acme",
		"/hubspot/connections/hbdev/..%2F..%2Fx", "/hubspot/connections/hbdev/..%2Fconnect", "/hubspot/%63onnections/hbdev/..%2F..%2Fhbdev%2Fconnect",
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if got := k.As(sidecartest.CallerKey, method, target); got.StatusCode != installtest.Teapot {
				t.Errorf("%s %s: %s", method, target, got.Status)
			}
		}
	}
	if got := k.As(sidecartest.CallerKey, http.MethodPost, "/hubspot/tokens/hbdev"); got.StatusCode != installtest.Teapot {
		t.Errorf("tokens: %s", got.Status)
	}
	link, cookies := k.Begin("/hubspot/hbdev/connect", "acme")
	if got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil, "Cookie", cookies); got.StatusCode != http.StatusOK {
		t.Errorf("a browser's install: %s: %s", got.Status, got.Text)
	}
}
