package relay_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const (
	opsKey   = "ops-caller-key-0123456789"
	trialKey = "trial-caller-key-0123456789"
	// appAccess begins the tokens that appUpstream gives the app.
	appAccess = "CAppTokenOfItsOwn0000000000000000"
)

// appUpstream is a HubSpot that gives the app tokens, numbered, and answers all
// else with what of the request arrived.
type appUpstream struct {
	*httptest.Server
	mu     sync.Mutex
	asked  int
	scopes string
	// refused are how many calls to come are answered with 401, and seen is
	// what the calls had.
	refused int
	seen    []*http.Request
}

func newAppUpstream(t *testing.T) *appUpstream {
	t.Helper()
	u := new(appUpstream)
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *appUpstream) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(r.URL.Path, "/oauth/") {
		u.asked++
		u.scopes = r.FormValue("scope")
		_, _ = fmt.Fprintf(w, `{"token_type":"bearer","access_token":"%s%d","expires_in":1800,"token_use":"client_credentials"}`, appAccess, u.asked)
		return
	}
	u.seen = append(u.seen, r)
	if u.refused > 0 {
		u.refused--
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"status":"error","category":"EXPIRED_AUTHENTICATION"}`))
		return
	}
	_, _ = fmt.Fprintf(w, `{"auth":%q}`, r.Header.Get("Authorization"))
}

// calls are what was asked beside tokens.
func (u *appUpstream) calls() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*http.Request{}, u.seen...)
}

func startAsApp(t *testing.T, change ...func(*relay.Config)) (*harness, *appUpstream) {
	t.Helper()
	u := newAppUpstream(t)
	app := sidecartest.Unpaced()
	app.AppScopes = hubspot.JournalScopes()
	h := start(t, sidecartest.Config{
		API: u.URL, Audit: true, Apps: []appconfig.Resolved{app},
		Callers: []access.CallerConfig{
			{Name: "ops", Keys: []secret.Text{secret.New(opsKey)}, AppCalls: true, Users: []string{"acme"}, Deny: sidecartest.Rules(t, "DELETE /webhooks-journal/*")},
			{Name: "trial", Keys: []secret.Text{secret.New(trialKey)}, DryRun: true},
		},
	}, change...)
	h.ConnectAs("acme", testToken)
	return h, u
}

const journalPath = "/webhooks-journal/journal/2026-09/earliest"

func asOps(header ...string) []string {
	return append([]string{"Authorization: Bearer " + opsKey}, header...)
}

func TestCallsAsTheApp(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	for _, tc := range []struct {
		name, line string
		header     []string
		path       string
	}{
		{"prefix", "GET /as-app" + journalPath + "?a=%20b", nil, journalPath + "?a=%20b"},
		{"prefix of a base URL with a slash", "GET /as-app/" + journalPath, nil, journalPath},
		{"header", "GET " + journalPath, []string{"X-HubSpot-As: app"}, journalPath},
		{"both", "GET /as-app" + journalPath, []string{"X-HubSpot-As: app"}, journalPath},
		{"another endpoint", "GET /as-app/crm/x", nil, "/crm/x"},
	} {
		before := len(u.calls())
		got := h.raw(tc.line, asOps(tc.header...)...)
		if got.StatusCode != 200 || strings.Contains(got.Text, appAccess) || !strings.Contains(got.Text, "***") && !strings.Contains(got.Text, "Bearer") {
			t.Errorf("%s: %s %s", tc.name, got.Status, got.Text)
		}
		calls := u.calls()
		if len(calls) != before+1 {
			t.Fatalf("%s: HubSpot got %d calls", tc.name, len(calls)-before)
		}
		up := calls[before]
		if up.RequestURI != tc.path || up.Header.Get("Authorization") != "Bearer "+appAccess+"1" || len(up.Header["X-Hubspot-As"]) > 0 {
			t.Errorf("%s: HubSpot got %s with %v", tc.name, up.RequestURI, up.Header)
		}
		if got.Header.Get("X-HubSpot-Portal") != "" || !strings.Contains(got.Header.Get("Vary"), "X-HubSpot-As") {
			t.Errorf("%s: header %v", tc.name, got.Header)
		}
		if s := <-h.summaries; !s.AsApp || s.Caller != "ops" || s.UserTag != "" {
			t.Errorf("%s: summary %+v", tc.name, s)
		}
	}
	if u.asked != 1 || u.scopes != strings.Join(hubspot.JournalScopes(), " ") {
		t.Errorf("%d tokens with scopes %q", u.asked, u.scopes)
	}
	for _, line := range h.WaitForAuditLines(h.AuditFile, 5) {
		if line.As != "app" || line.Caller != "ops" || line.UserTag != "" || line.Portal != 0 || line.Tries != 1 {
			t.Errorf("audit line %+v", line.Entry)
		}
	}
	if strings.Contains(h.Logs.String(), appAccess) {
		t.Error("the app's token is in the log")
	}
}

func TestCallsAsTheAppInEnvelopes(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	body := `{"method":"GET","url":"` + journalPath + `"}`
	for _, tc := range []struct{ target, header string }{
		{"/as-app/raw/hbdev", ""}, {"/raw/hbdev", "app"},
	} {
		header := []string{"Authorization", "Bearer " + opsKey, "Content-Type", "application/json"}
		if tc.header != "" {
			header = append(header, "X-HubSpot-As", tc.header)
		}
		got := h.Do("POST", tc.target, strings.NewReader(body), header...)
		if got.StatusCode != 200 || !strings.Contains(got.Text, `{"data"`) || strings.Contains(got.Text, appAccess) {
			t.Errorf("%s: %s %s", tc.target, got.Status, got.Text)
		}
	}
	if calls := u.calls(); len(calls) != 2 || calls[0].RequestURI != journalPath {
		t.Errorf("HubSpot got %d calls", len(calls))
	}
	withUser := strings.Replace(body, "{", `{"userForeignIdentifier":"acme",`, 1)
	e := wantOwnError(t, h.Do("POST", "/as-app/raw/hbdev", strings.NewReader(withUser),
		"Authorization", "Bearer "+opsKey, "Content-Type", "application/json"), 400, "bad_request")
	if !strings.Contains(e.Message, "for no user") {
		t.Errorf("message %q", e.Message)
	}
}

func TestCallsAsTheAppThatAreRefused(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	token := "Authorization: Bearer " + h.IssueToken("acme")
	for _, tc := range []struct {
		name, line string
		header     []string
		status     int
		kind, text string
	}{
		{"a caller without the right", "GET /as-app" + journalPath, nil, 403, "caller_forbidden", "app_calls"},
		{"the same by header", "GET " + journalPath, []string{"X-HubSpot-As: app"}, 403, "caller_forbidden", "app_calls"},
		{"a policy on trial", "GET /as-app" + journalPath, []string{"Authorization: Bearer " + trialKey}, 403, "caller_forbidden", "app_calls"},
		{"a user token", "GET /as-app" + journalPath, []string{token}, 403, "caller_forbidden", "app_calls"},
		{"a user token, by header", "GET " + journalPath, []string{token, "X-HubSpot-As: app"}, 403, "caller_forbidden", "app_calls"},
		{"no key", "GET /as-app" + journalPath, []string{"Authorization: Bearer unknown-key-0123456789"}, 401, "caller_unauthenticated", ""},
		{"a user in the header", "GET /as-app" + journalPath, asOps("X-HubSpot-User: acme"), 400, "bad_request", "for no user"},
		{"a user in the path", "GET /as/acme" + journalPath, asOps("X-HubSpot-As: app"), 400, "bad_request", "for no user"},
		{"both prefixes", "GET /as-app/as/acme/crm/x", asOps(), 400, "bad_request", "for no user"},
		{"both prefixes the other way", "GET /as/acme/as-app/crm/x", asOps(), 400, "bad_request", "/as-app/"},
		{"twice", "GET /as-app/as-app/crm/x", asOps(), 400, "bad_request", "/as-app/"},
		{"another value", "GET " + journalPath, asOps("X-HubSpot-As: user"), 400, "bad_request", "X-HubSpot-As"},
		{"two values", "GET " + journalPath, asOps("X-HubSpot-As: app", "X-HubSpot-As: me"), 400, "bad_request", "X-HubSpot-As"},
		{"denied", "DELETE /as-app/webhooks-journal/subscriptions/2026-09/1", asOps(), 403, "caller_forbidden", "DELETE"},
		{"blocked", "POST /as-app/oauth/2026-09/token", asOps(), 403, "endpoint_blocked", ""},
		{"token information", "POST /as-app/oauth/v2/private-apps/get/access-token-info", asOps(), 403, "endpoint_blocked", ""},
		{"blocked in another reading", "GET /as-app//oauth%2Fv1/token", asOps(), 0, "", ""},
		{"no user and no prefix", "GET " + journalPath, asOps(), 400, "user_required", "/as-app/"},
	} {
		got := h.raw(tc.line, tc.header...)
		if tc.status == 0 {
			if got.StatusCode == 200 {
				t.Errorf("%s: %s", tc.name, got.Status)
			}
			continue
		}
		e := wantOwnError(t, got, tc.status, tc.kind)
		if !strings.Contains(e.Message, tc.text) {
			t.Errorf("%s: message %q, want one with %q", tc.name, e.Message, tc.text)
		}
		if tc.text == "app_calls" && fmt.Sprint(e.Context["dimension"]) != "[app_calls]" {
			t.Errorf("%s: context %v", tc.name, e.Context)
		}
	}
	if n := len(u.calls()); n != 0 || u.asked != 0 {
		t.Errorf("HubSpot got %d calls and gave %d tokens", n, u.asked)
	}
}

// TestOtherSpellingsOfAsApp: no rule in front of the sidecar reads a path as one
// of the app where the sidecar does not, or the other way round.
func TestOtherSpellingsOfAsApp(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	for _, path := range []string{
		"/as-app", "/AS-APP/crm/x", "/As-App/crm/x", "/as%2Dapp/crm/x", "/%61s-app/crm/x", "/%2561s-app/crm/x", "//as-app/crm/x", "/./as-app/crm/x",
		"/x/../as-app/crm/x", "/x%2F..%2Fas-app/crm/x", `/as-app\crm/x`, "/as-app;a=b/crm/x", "/as-app./crm/x", "/as-app%20/crm/x", "/as-app%2Fcrm/x",
		"/as%c2%adapp/crm/x", "/as-%c2%adapp/crm/x", "/as%e2%80%91app/crm/x", "/%ef%bd%81s-app/crm/x", "/as-app%3Fa/crm/x",
		"/as-app//as-app/crm/x", "/as-app/%2e%2e/as-app/crm/x",
	} {
		for _, header := range [][]string{asOps("X-HubSpot-User: acme"), asOps("X-HubSpot-As: app")} {
			if e := wantOwnError(t, h.raw("GET "+path, header...), 400, "bad_request"); e.Message == "" {
				t.Errorf("%s: no message", path)
			}
		}
	}
	if n := len(u.calls()); n != 0 {
		t.Errorf("HubSpot got %d calls", n)
	}
	for _, path := range []string{"/crm/as-app/x", "/as-apps/x", "/crm/x?as-app/"} {
		if got := h.raw("GET "+path, asOps("X-HubSpot-User: acme")...); got.StatusCode != 200 {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
}

func TestOpenIsNeverTheApp(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t, func(c *relay.Config) { c.Open = true })
	e := wantOwnError(t, h.rawWithoutKey("GET /as-app"+journalPath), 403, "caller_forbidden")
	if fmt.Sprint(e.Context["dimension"]) != "[app_calls]" || len(u.calls()) != 0 {
		t.Errorf("context %v, HubSpot got %d calls", e.Context, len(u.calls()))
	}
	if got := h.raw("GET /as-app"+journalPath, asOps()...); got.StatusCode != 200 {
		t.Errorf("with a key: %s", got.Status)
	}
}

func TestFrozenCallsAsTheApp(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	for _, tc := range []struct {
		selector freeze.Selector
		status   int
	}{
		{freeze.Selector{App: "hbdev"}, 403}, {freeze.Selector{Caller: "ops"}, 403}, {freeze.Selector{User: "acme"}, 200}, {freeze.Selector{Writes: true}, 200},
	} {
		h.freeze(tc.selector)
		if got := h.raw("GET /as-app"+journalPath, asOps()...); got.StatusCode != tc.status {
			t.Errorf("%+v: %s %s", tc.selector, got.Status, got.Text)
		}
		h.unfreezeAll()
	}
	if n := len(u.calls()); n != 2 {
		t.Errorf("HubSpot got %d calls", n)
	}
}

// TestAppTokenThatHubSpotRefuses: it is replaced, and the call made again.
func TestAppTokenThatHubSpotRefuses(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	u.refused = 1
	got := h.raw("GET /as-app"+journalPath, asOps()...)
	if got.StatusCode != 200 || u.asked != 2 {
		t.Errorf("%s, %d tokens", got.Status, u.asked)
	}
	u.mu.Lock()
	u.refused = 1
	u.mu.Unlock()
	if got := h.raw("GET /as-app"+journalPath, asOps()...); got.StatusCode != 401 || u.asked != 2 {
		t.Errorf("again within a minute: %s, %d tokens; want HubSpot's own 401", got.Status, u.asked)
	}
}

func TestAppWithoutScopesOfItsOwn(t *testing.T) {
	t.Parallel()
	h, u := startAsApp(t)
	h.App("hbdev").Settings.AppScopes = nil
	e := wantOwnError(t, h.raw("GET /as-app"+journalPath, asOps()...), 503, "app_misconfigured")
	if !strings.Contains(e.Message, "app_scopes") || u.asked != 0 {
		t.Errorf("message %q, %d tokens", e.Message, u.asked)
	}
}
