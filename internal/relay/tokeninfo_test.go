package relay_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

const (
	tokenInfo = "/oauth/v2/private-apps/get/access-token-info"
	mcpKey    = "key-of-an-mcp-server-0123456789"
)

// startTokenInfo starts a relay whose HubSpot must not be asked, with a caller
// who may only read, for one user.
func startTokenInfo(t *testing.T) *harness {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("HubSpot was asked: %s %s", r.Method, r.URL)
	}))
	t.Cleanup(api.Close)
	app := sidecartest.Unpaced()
	app.AppID = 12345
	h := start(t, sidecartest.Config{API: api.URL, Audit: true, Apps: []appconfig.Resolved{app}, Callers: []access.CallerConfig{{
		Name: "mcp", Keys: []secret.Text{secret.New(mcpKey)}, Users: []string{"acme"},
		Allow: sidecartest.Rules(t, "GET /crm/*"), Deny: sidecartest.Rules(t, "* /oauth/*"),
	}}})
	h.ConnectAs("acme", testToken)
	return h
}

// askTokenInfo asks for it as HubSpot's MCP server does, with a key in the
// header, unless it is empty, and one in the body.
func (h *harness) askTokenInfo(path, inHeader, inBody string, header ...string) answer {
	h.t.Helper()
	return h.postTokenInfo(path, inHeader, `{"tokenKey":"`+inBody+`"}`, header...)
}

func (h *harness) postTokenInfo(path, inHeader, body string, header ...string) answer {
	h.t.Helper()
	if inHeader != "" {
		header = append(header, "Authorization", "Bearer "+inHeader)
	}
	return h.Do(http.MethodPost, path, strings.NewReader(body), append(header, "Content-Type", "application/json")...)
}

func wantTokenInfo(t *testing.T, got answer) {
	t.Helper()
	if want := `{"hubId":4711,"appId":12345,"scopes":["oauth"]}`; got.StatusCode != http.StatusOK || got.Text != want {
		t.Errorf("%s %s; want %s", got.Status, got.Text, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json;charset=utf-8", "Cache-Control": "no-store", "X-HubSpot-Portal": "4711",
		"Proxy-Status": `caddy-hubspot; details="answered by the sidecar"`,
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

func TestTokenInfo(t *testing.T) {
	t.Parallel()
	h := startTokenInfo(t)
	narrowed := h.IssueToken("acme", func(u *usertoken.Token) { u.Allow = sidecartest.Rules(t, "GET /crm/*") })
	for name, got := range map[string]answer{
		"as the MCP server does":      h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, mcpKey),
		"base URL ends in a slash":    h.askTokenInfo("/as/acme/"+tokenInfo, mcpKey, mcpKey),
		"key in the body only":        h.askTokenInfo("/as/acme"+tokenInfo, "", mcpKey),
		"user in the header":          h.askTokenInfo(tokenInfo, mcpKey, mcpKey, "X-HubSpot-User", "acme"),
		"user token":                  h.askTokenInfo(tokenInfo, narrowed, narrowed),
		"user token in the body only": h.askTokenInfo(tokenInfo, "", narrowed),
		"more fields":                 h.postTokenInfo("/as/acme"+tokenInfo, "", `{"a":[1],"tokenKey":"`+mcpKey+`"}`),
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); wantTokenInfo(t, got) })
	}
}

func TestTokenInfoRefused(t *testing.T) {
	t.Parallel()
	h := startTokenInfo(t)
	h.ConnectAs("globex", testToken)
	token, other := h.IssueToken("acme"), h.IssueToken("acme")
	const wrong = "a-wrong-key-0123456789-0123"
	for _, tc := range []struct {
		name   string
		got    answer
		status int
		kind   string
		text   string
	}{
		{"wrong key in the body", h.askTokenInfo("/as/acme"+tokenInfo, "", wrong), 401, "caller_unauthenticated", "caller key is not known"},
		{"wrong key beside a right one", h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, wrong), 401, "caller_unauthenticated", "caller key is not known"},
		{"wrong key in the header", h.askTokenInfo("/as/acme"+tokenInfo, wrong, mcpKey), 401, "caller_unauthenticated", "caller key is not known"},
		{"keys of two callers", h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, testCallerKey), 400, "bad_request", "of two callers"},
		{"token and key of its issuer", h.askTokenInfo("/as/acme"+tokenInfo, token, testCallerKey), 400, "bad_request", "of two callers"},
		{"two tokens", h.askTokenInfo(tokenInfo, token, other), 400, "bad_request", "of two callers"},
		{"other user", h.askTokenInfo("/as/globex"+tokenInfo, mcpKey, mcpKey), 403, "caller_forbidden", ""},
		{"other user than the token's", h.askTokenInfo("/as/globex"+tokenInfo, token, token), 400, "bad_request", "two users"},
		{"user who is not connected", h.askTokenInfo("/as/initech"+tokenInfo, testCallerKey, testCallerKey), 404, "not_connected", ""},
		{"no user", h.askTokenInfo(tokenInfo, mcpKey, mcpKey), 400, "user_required", ""},
		{"two users", h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, mcpKey, "X-HubSpot-User", "globex"), 400, "bad_request", "two users"},
		{"no key", h.postTokenInfo("/as/acme"+tokenInfo, mcpKey, `{}`), 400, "bad_request", "tokenKey"},
		{"empty key", h.postTokenInfo("/as/acme"+tokenInfo, "", `{"tokenKey":""}`), 400, "bad_request", "tokenKey"},
		{"two keys", h.postTokenInfo("/as/acme"+tokenInfo, "", `{"tokenKey":"x","tokenKey":"y"}`), 400, "bad_request", "tokenKey"},
		{"no text", h.postTokenInfo("/as/acme"+tokenInfo, "", `{"tokenKey":7}`), 400, "bad_request", "tokenKey"},
		{"no JSON", h.postTokenInfo("/as/acme"+tokenInfo, "", `tokenKey=x`), 400, "bad_request", "tokenKey"},
		{"too large", h.postTokenInfo("/as/acme"+tokenInfo, "", `{"tokenKey":"`+mcpKey+`","x":"`+strings.Repeat("x", 16<<10)+`"}`), 400, "bad_request", "16 KiB"},
		{"override", h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, mcpKey, "X-HTTP-Method-Override", "GET"), 400, "bad_request", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := wantOwnError(t, tc.got, tc.status, tc.kind)
			if !strings.Contains(e.Message, tc.text) {
				t.Errorf("message %q; want one with %q", e.Message, tc.text)
			}
			if tc.kind == "not_connected" && e.Links["connect"] == "" {
				t.Error("there is no link to connect")
			}
		})
	}
	for _, key := range []string{wrong, mcpKey, testCallerKey, token, other} {
		if strings.Contains(h.Logs.String(), key) {
			t.Errorf("%q is in the log", key)
		}
	}
}

// Everything but the very request stays blocked.
func TestTokenInfoBlocked(t *testing.T) {
	t.Parallel()
	h := startTokenInfo(t)
	body := `{"tokenKey":"` + mcpKey + `"}`
	for _, line := range []string{
		"GET " + tokenInfo, "HEAD " + tokenInfo, "PUT " + tokenInfo, "post " + tokenInfo,
		"POST " + tokenInfo + "/", "POST " + tokenInfo + "?x=y", "POST " + tokenInfo + "?",
		"POST /OAUTH/v2/private-apps/get/access-token-info", "POST /oauth/v3/private-apps/get/access-token-info",
		"POST /oauth/v2/private-apps/get/access-token-info;x", "POST /oauth/v2/private-apps/get/access-token-inf%6f",
		"POST /oauth/v2/private-apps/get/access-token-info/x",
	} {
		method, path, _ := strings.Cut(line, " ")
		got := h.Do(method, "/as/acme"+path, strings.NewReader(body), "Authorization", "Bearer "+mcpKey, "Content-Type", "application/json")
		if method == http.MethodHead {
			if got.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s", line, got.Status)
			}
			continue
		}
		wantOwnError(t, got, http.StatusForbidden, "endpoint_blocked")
	}
	got := h.Do(http.MethodPost, "/raw/hbdev", strings.NewReader(`{"method":"POST","url":"`+tokenInfo+`","userForeignIdentifier":"acme","body":{"tokenKey":"`+mcpKey+`"}}`),
		"Authorization", "Bearer "+mcpKey, "Content-Type", "application/json")
	wantOwnError(t, got, http.StatusForbidden, "endpoint_blocked")
}

// It changes nothing, so that a freeze of writes is not for it.
func TestTokenInfoFrozen(t *testing.T) {
	t.Parallel()
	h := startTokenInfo(t)
	ask := func() answer { return h.askTokenInfo("/as/acme"+tokenInfo, mcpKey, mcpKey) }
	h.freeze(freeze.Selector{Writes: true})
	wantTokenInfo(t, ask())
	h.freeze(freeze.Selector{User: "acme"})
	wantOwnError(t, ask(), http.StatusForbidden, "frozen")
	h.unfreezeAll()
	wantTokenInfo(t, ask())
}

// It is counted and written down as an answer of the sidecar's own.
func TestTokenInfoIsRecorded(t *testing.T) {
	t.Parallel()
	h := startTokenInfo(t)
	wantTokenInfo(t, h.askTokenInfo("/as/acme"+tokenInfo, "", mcpKey))
	lines := h.WaitForAuditLines(h.AuditFile, 1)
	got := lines[0].Entry
	if got.Kind != audit.KindCall || got.Caller != "mcp" || got.Method != "POST" || got.Status != 200 || got.Tries != 0 ||
		got.Portal != testHubID || got.Error != "" || got.UserTag != tagOf(h, "acme") || !strings.HasPrefix(got.Path, "/oauth/v2/private-apps/") {
		t.Errorf("%+v", got)
	}
	var counted []string
	for labels, n := range h.metric("caddy_hubspot_requests_total") {
		if n > 0 {
			counted = append(counted, labels)
		}
	}
	if len(counted) != 1 || !strings.Contains(counted[0], "caller=mcp") || !strings.Contains(counted[0], "source=sidecar") {
		t.Errorf("counted as %v", counted)
	}
	if s := <-h.summaries; s.Caller != "mcp" || s.HubID != testHubID || s.Error != "" {
		t.Errorf("the access log would say %+v", s)
	}
}

// What an app does not have is left out, but for the scopes.
func TestTokenInfoOfWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	h := startProxy(t, "http://127.0.0.1:1")
	if got := h.askTokenInfo("/as/acme"+tokenInfo, "", testCallerKey); got.Text != `{"hubId":4711,"scopes":["oauth"]}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	h.use(func(c *relay.Config) { c.User.Header, c.User.Constant = "", "acme" })
	if got := h.askTokenInfo(tokenInfo, "", testCallerKey); got.StatusCode != http.StatusOK {
		t.Errorf("user of the setting: %s %s", got.Status, got.Text)
	}
}

// SDKs call these with a developer API key and no token; without one they send
// neither.
func TestDeveloperEndpointWithoutKey(t *testing.T) {
	t.Parallel()
	h := startProxy(t, "http://127.0.0.1:1")
	for path, want := range map[string]bool{
		"/webhooks/v3/1/settings":                         true,
		"/app-webhooks/2026-09/1/settings":                true,
		"/automation/v4/actions/1":                        true,
		"/crm/v3/extensions/calling/1/settings":           true,
		"/crm/v3/extensions/videoconferencing/settings/1": true,
		"/crm/v3/extensions/cards-dev/1":                  true,
		"/integrators/timeline/v3/1/event-templates":      true,
		"/marketing/v3/marketing-events/1/settings":       true,
		"/as/acme/webhooks/v3/1/settings":                 true,
		"/crm/objects/2026-09/contacts?hapikey=x":         true,
		"/crm/objects/2026-09/contacts":                   false,
		"/webhooks":                                       false,
		"/webhooks//1":                                    false,
		"/marketing/v3/emails":                            false,
	} {
		e := wantOwnError(t, h.rawWithoutKey("GET "+path), 401, "caller_unauthenticated")
		if strings.Contains(e.Message, "A developer API key (hapikey) cannot be used here") != want {
			t.Errorf("%s: %s", path, e.Message)
		}
	}
}
