package relay_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// errorCallers are callers with policies, beside tester who may do everything.
func errorCallers(t testing.TB) []access.CallerConfig {
	t.Helper()
	return []access.CallerConfig{
		{
			Name: "narrow", Keys: []secret.Text{secret.New(narrowKey)}, Users: []string{"acme", "globex-*"},
			Allow: sidecartest.Rules(t, "GET,POST /crm/*", "GET /account-info/*"), Deny: sidecartest.Rules(t, "* /crm/*/gdpr-delete"),
		},
		{Name: "other-app", Keys: []secret.Text{secret.New(otherKey)}, Apps: []string{"other*"}},
	}
}

const (
	narrowKey = "narrow-caller-key-0123456789"
	otherKey  = "other-caller-key-0123456789"
)

func startErrors(t *testing.T) (*harness, *wireServer) {
	t.Helper()
	upstream := newWireServer(t, plainAnswer)
	h := start(t, sidecartest.Config{API: upstream.url(), Callers: errorCallers(t)})
	h.ConnectAs("acme", testToken)
	return h, upstream
}

func basic(name, key string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+key))
}

func TestCallersAreChecked(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startErrors(t)
	for _, tc := range []struct {
		name, line string
		header     []string
		status     int
		kind, text string
	}{
		{name: "key of a caller", line: "GET /crm/x", status: 200},
		{name: "basic", line: "GET /crm/x", header: []string{basic("Tester", testCallerKey)}, status: 200},
		{name: "key of another name", line: "GET /crm/x", header: []string{basic("narrow", testCallerKey)}, status: 401, kind: "caller_unauthenticated", text: "not known"},
		{name: "unknown key", line: "GET /crm/x", header: []string{"Authorization: Bearer pat-na1-something-else"}, status: 401, kind: "caller_unauthenticated", text: "not known"},
		{name: "HubSpot token", line: "GET /crm/x", header: []string{"Authorization: Bearer " + testToken}, status: 401, kind: "caller_unauthenticated", text: "not a HubSpot token"},
		{name: "no key", line: "GET /crm/x", header: []string{"Authorization: "}, status: 401, kind: "caller_unauthenticated", text: "has to be Bearer"},
		{name: "two keys", line: "GET /crm/x", header: []string{"Authorization: Bearer " + testCallerKey, "Authorization: Bearer " + testCallerKey}, status: 401, kind: "caller_unauthenticated", text: "once"},
		{name: "allowed", line: "GET /account-info/v3", header: []string{"Authorization: Bearer " + narrowKey}, status: 200},
		{name: "app", line: "GET /crm/x", header: []string{"Authorization: Bearer " + otherKey}, status: 403, kind: "caller_forbidden", text: "app"},
		{name: "user", line: "GET /as/initech/crm/x", header: []string{"Authorization: Bearer " + narrowKey}, status: 403, kind: "caller_forbidden", text: "user"},
		{name: "method", line: "DELETE /crm/x", header: []string{"Authorization: Bearer " + narrowKey}, status: 403, kind: "caller_forbidden", text: "method"},
		{name: "path", line: "GET /cms/x", header: []string{"Authorization: Bearer " + narrowKey}, status: 403, kind: "caller_forbidden", text: "path"},
		{name: "denied path", line: "POST /crm/contacts/gdpr-delete", header: []string{"Authorization: Bearer " + narrowKey}, status: 403, kind: "caller_forbidden", text: "gdpr-delete"},
		{name: "denied path, other case", line: "POST /crm/contacts/GDPR-Delete;x=1", header: []string{"Authorization: Bearer " + narrowKey}, status: 403, kind: "caller_forbidden", text: "gdpr-delete"},
		{name: "two readings", line: "GET /crm/..%2Fcms/x", header: []string{"Authorization: Bearer " + narrowKey}, status: 400, kind: "bad_request", text: "different ways"},
		{name: "two readings of no interest", line: "GET /crm/a%2Fb", header: []string{"Authorization: Bearer " + narrowKey}, status: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(upstream.taken())
			header := tc.header
			if !strings.Contains(tc.line, " /as/") {
				header = append([]string{"X-HubSpot-User: acme"}, tc.header...)
			}
			got := h.raw(tc.line, header...)
			if tc.status == 200 {
				if got.Text != `{"ok": true}` || len(upstream.taken()) != before+1 {
					t.Errorf("%s %s", got.Status, got.Text)
				}
				return
			}
			e := wantOwnError(t, got, tc.status, tc.kind)
			if !strings.Contains(e.Message, tc.text) {
				t.Errorf("message %q, want one with %q", e.Message, tc.text)
			}
			if len(upstream.taken()) != before {
				t.Error("HubSpot was asked")
			}
			if (tc.status == 401) != (len(got.Header.Values("WWW-Authenticate")) > 0) {
				t.Errorf("WWW-Authenticate %q", got.Header.Values("WWW-Authenticate"))
			}
			if !strings.Contains(h.Logs.String(), e.CorrelationID) {
				t.Error("the correlation id is not in the log")
			}
		})
	}
}

func TestNoKeyAtAll(t *testing.T) {
	t.Parallel()
	h, _ := startErrors(t)
	got := h.Do("GET", "/crm/x", nil, "X-HubSpot-User", "acme")
	e := wantOwnError(t, got, 401, "caller_unauthenticated")
	if !strings.Contains(e.Message, "No caller key") {
		t.Errorf("message %q", e.Message)
	}
}

func TestRequestsAreChecked(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startErrors(t)
	const acme = "X-HubSpot-User: acme"
	for _, tc := range []struct {
		name, line string
		header     []string
		kind, text string
	}{
		{"no user", "GET /crm/x", nil, "user_required", "X-HubSpot-User"},
		{"empty user", "GET /crm/x", []string{"X-HubSpot-User: "}, "user_required", "/as/{user}/"},
		{"empty user in the path", "GET /as//crm/x", []string{acme}, "user_required", ""},
		{"two users", "GET /crm/x", []string{acme, "X-HubSpot-User: globex"}, "bad_request", "different users"},
		{"nothing after the user", "GET /as/acme", nil, "bad_request", "/as/{user}/"},
		{"dots as user", "GET /as/../crm/x", []string{acme}, "bad_request", "/as/{user}/"},
		{"user of control characters", "GET /as/a%00b/crm/x", nil, "bad_request", "control character"},
		{"user not UTF-8", "GET /crm/x", []string{"X-HubSpot-User: caf\xe9"}, "bad_request", "UTF-8"},
		{"long user", "GET /as/" + strings.Repeat("u", 1025) + "/crm/x", nil, "bad_request", "1024"},
		{"control character in the path", "GET /crm/a%0d%0ab", []string{acme}, "bad_request", "control character"},
		{"NUL, encoded twice", "GET /crm/a%2500b", []string{acme}, "bad_request", "control character"},
		{"odd double slash", "GET //crm|x", []string{acme}, "bad_request", "//"},
		{"WebSocket", "GET /crm/x", []string{acme, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"}, "bad_request", "WebSockets"},
		{"another method in a header", "GET /crm/x", []string{acme, "X-HTTP-Method-Override: DELETE"}, "bad_request", "X-Http-Method-Override"},
		{"another path in a header", "GET /crm/x", []string{acme, "x-original-url: /oauth/v1/token"}, "bad_request", "X-Original-Url"},
		{"another path in nginx's header", "GET /crm/x", []string{acme, "X-Original-URI: /oauth/v1/token"}, "bad_request", "X-Original-Uri"},
		{"forward proxy", "CONNECT localhost:80", []string{acme}, "bad_request", "forward proxy"},
		{"TRACE", "TRACE /crm/x", []string{acme}, "endpoint_blocked", "TRACE"},
		{"trace", "trace /crm/x", []string{acme}, "endpoint_blocked", "access token"},
		{"envelope with GET", "GET /raw/hbdev", []string{acme}, "bad_request", "POST"},
		{"envelope of another app", "POST /raw/other", []string{acme}, "bad_request", "/raw/hbdev"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := 400
			if tc.kind == "endpoint_blocked" {
				status = 403
			}
			e := wantOwnError(t, h.raw(tc.line, tc.header...), status, tc.kind)
			if !strings.Contains(e.Message, tc.text) {
				t.Errorf("message %q, want one with %q", e.Message, tc.text)
			}
			if n := len(upstream.taken()); n != 0 {
				t.Errorf("HubSpot was asked %d times", n)
			}
		})
	}
}

func TestBlockedEndpoints(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startErrors(t)
	for _, path := range []string{
		"/oauth/2026-09/token", "/oauth/v1/token", "/oauth/v3/token", "/oauth/2026-09/token/introspect", "/oauth/2026-09/token/revoke",
		"/oauth/v1/access-tokens/x", "/oauth/v1/refresh-tokens/x", "/oauth/v2/private-apps/get/access-token-info", "/oauth", "/oauth/", "/localdevauth/v1/auth/refresh",
		"/OAuth/v1/token", "/OAUTH/v1/token", "/%6Fauth/v1/token", "/o%61uth/v1/token", "/oauth;x=1/v1/token", "/oauth%2Fv1%2Ftoken",
		"/%6f%61%75%74%68/v1/token", "//oauth/v1/token", "/oauth//v1/token", "/./oauth/v1/token", "/crm/../oauth/v1/token", "/crm/%2e%2e/oauth/v1/token",
		"/crm/..%2Foauth/v1/token", `/crm\..\oauth\v1\token`, "/crm%5C..%5Coauth/v1/token", "/%2Foauth/v1/token", "/%256Fauth/v1/token", "/oauth%3Bx/v1/token",
		"/oauth%2e/../oauth/v1/token", "/crm/..;/oauth/v1/token", "/oauth?x=1", "/oauth#x", "/oauth%3Fx", "/%C0%AFoauth/v1/token", "/oa\xC4\xB1uth/../oauth/v1/token",
		"/as/acme/oauth/v1/token", "/as/acme//oauth/v1/token",
	} {
		t.Run(path, func(t *testing.T) {
			got := h.raw("POST "+path, "X-HubSpot-User: acme", "Content-Length: 0")
			var e ownError
			got.JSON(t, &e)
			if !(got.StatusCode == 403 && e.SubCategory == "endpoint_blocked" || got.StatusCode == 400 && e.SubCategory == "bad_request") {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
		})
	}
	if n := len(upstream.taken()); n != 0 {
		t.Errorf("HubSpot was asked %d times, last %s", n, upstream.last(t).start)
	}
	for _, path := range []string{"/oauth2/x", "/crm/oauth", "/crm/objects/oauth/token", "/oauthx"} {
		if got := h.raw("GET "+path, "X-HubSpot-User: acme"); got.Text != `{"ok": true}` {
			t.Errorf("%s: %s %s", path, got.Status, got.Text)
		}
	}
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	h, _ := startErrors(t)
	e := wantOwnError(t, h.Get("/crm/x", "globex-1"), 404, "not_connected")
	if e.Context["user"][0] != "globex-1" || e.Context["app"][0] != "hbdev" {
		t.Errorf("context %v", e.Context)
	}
	link, err := url.Parse(e.Links["connect"])
	if err != nil || link.Path != "/oauth/authorize" || link.Query().Get("state") == "" || link.Query().Get("redirect_uri") != sidecartest.RedirectURI {
		t.Errorf("link %q, %v", e.Links["connect"], err)
	}
}

func TestGrantsThatHubSpotRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, fault string
		status      int
		kind, link  string
	}{
		{"dead", `{"revoke":{},"expire_access_tokens":{}}`, 401, "reauth_required", "reconnect"},
		{"uninstalled", `{"uninstall":{}}`, 401, "reauth_required", "reconnect"},
		{"wrong credentials", `{"expire_access_tokens":{},"token":{"answer":"invalid_client"}}`, 401, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := startSandboxed(t, sidecartest.Config{})
			if got := h.Get("/crm/objects/2026-09/contacts", "acme"); got.StatusCode != 200 {
				t.Fatalf("before: %s %s", got.Status, got.Text)
			}
			h.Fault(tc.fault)
			got := h.Get("/crm/objects/2026-09/contacts", "acme")
			if tc.kind == "" {
				// The clock calls the token valid: HubSpot's answer says most.
				if got.StatusCode != tc.status || strings.Contains(got.Text, "SIDECAR") {
					t.Errorf("%s %s", got.Status, got.Text)
				}
				return
			}
			e := wantOwnError(t, got, tc.status, tc.kind)
			if !strings.HasPrefix(e.Links[tc.link], h.SandboxURL+"/oauth/authorize?") {
				t.Errorf("links %v", e.Links)
			}
			if got.Header.Get("WWW-Authenticate") != "" {
				t.Error("the caller is asked to authenticate, which will not help")
			}
		})
	}
}

// jsonAnswer is an answer with a JSON body, as it goes on the wire.
func jsonAnswer(status int, body string, header ...string) string {
	head := fmt.Sprintf("HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", status, len(body))
	for _, line := range header {
		head += line + "\r\n"
	}
	return head + "\r\n" + body
}

// tokenAnswer is the token endpoint's answer to a refresh.
func tokenAnswer(token string) string {
	return jsonAnswer(200, `{"token_type":"bearer","refresh_token":"`+testRefreshToken+`","access_token":"`+token+`","hub_id":4711,"scopes":["oauth"],"expires_in":1800}`)
}

// isTokenRequest reports whether a request is for the token endpoint.
func isTokenRequest(m *wireMessage) bool {
	return strings.HasPrefix(m.start, "POST /oauth/2026-09/token ")
}

// Without a valid token, what is wrong at the token endpoint shows.
func TestTokensThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, answer string
		status       int
		kind         string
	}{
		{"credentials refused", jsonAnswer(400, `{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`), 503, "app_misconfigured"},
		{"endpoint down", jsonAnswer(503, "{}"), 503, "token_unavailable"},
		{"dead grant", jsonAnswer(400, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`), 401, "reauth_required"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var well atomic.Bool
			upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
				if err := more(); err != nil {
					return err
				}
				answer := tc.answer
				if well.Load() {
					answer = tokenAnswer("CAnotherAccessToken")
				}
				if !isTokenRequest(m) {
					answer = jsonAnswer(200, "{}")
				}
				_, err := io.WriteString(w, answer)
				return err
			})
			// Only an endpoint that is down is waited for.
			patience := 20 * time.Second
			if tc.kind == "token_unavailable" {
				patience = 500 * time.Millisecond
			}
			h := start(t, sidecartest.Config{API: upstream.url()}, maxWait(patience))
			h.ConnectExpired("acme")
			got := h.Get("/crm/x", "acme")
			// Let what is still tried behind the request come to an end.
			well.Store(true)
			wantOwnError(t, got, tc.status, tc.kind)
			if (tc.kind == "token_unavailable") != (got.Header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
			}
		})
	}
}

// nobodyAt is an address at which nobody listens, and nobody will: its port is
// that of the client's end of a connection.
func nobodyAt(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return "http://" + conn.LocalAddr().String()
}

// storeDown is a store that does not answer.
type storeDown struct{ connection.Store }

func (storeDown) Load(context.Context, connection.Key) (connection.Versioned, error) {
	return connection.Versioned{}, fmt.Errorf("asking nobody: %w", connection.ErrUnavailable)
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	h := start(t, sidecartest.Config{Store: storeDown{sidecartest.MemoryStore(t)}})
	got := h.Get("/crm/x", "acme")
	if e := wantOwnError(t, got, 503, "store_unavailable"); got.Header.Get("Retry-After") == "" || e.Links != nil {
		t.Errorf("Retry-After %q, links %v", got.Header.Get("Retry-After"), e.Links)
	}
}

// headerTimeout has HubSpot be given so long for the beginning of an answer.
func headerTimeout(t testing.TB, timeout time.Duration) func(*relay.Config) {
	t.Helper()
	transport := newTransport(t)
	transport.ResponseHeaderTimeout = timeout
	return func(c *relay.Config) { c.Transport = transport }
}

func TestUpstreamFaults(t *testing.T) {
	t.Parallel()
	nobody := nobodyAt(t)
	hangUp := newWireServer(t, func(_ io.Writer, _ *wireMessage, more func() error) error {
		_ = more()
		return errHangUp
	})
	released := make(chan struct{})
	silent := newWireServer(t, func(io.Writer, *wireMessage, func() error) error {
		<-released
		return errHangUp
	})
	t.Cleanup(func() { close(released) })
	switching := newWireServer(t, func(w io.Writer, _ *wireMessage, _ func() error) error {
		_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		return errHangUp
	})
	garbage := newWireServer(t, func(w io.Writer, _ *wireMessage, _ func() error) error {
		_, _ = io.WriteString(w, "no HTTP\r\n\r\n")
		return errHangUp
	})
	for _, tc := range []struct {
		name, api string
		status    int
		kind      string
		proxy     string
	}{
		{"nobody there", nobody, 502, "upstream_unreachable", "error=destination_unavailable; details=\"upstream_unreachable; tries=3"},
		{"hangs up", hangUp.url(), 502, "upstream_unreachable", "error=connection_terminated"},
		{"is silent", silent.url(), 504, "upstream_timeout", "error=http_response_timeout"},
		{"switches protocols", switching.url(), 502, "upstream_unreachable", "error=http_protocol_error"},
		{"talks nonsense", garbage.url(), 502, "upstream_unreachable", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := startProxy(t, tc.api, headerTimeout(t, 300*time.Millisecond))
			got := h.Do("POST", "/crm/x", strings.NewReader("{}"), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
			e := wantOwnError(t, got, tc.status, tc.kind)
			if status := got.Header.Get("Proxy-Status"); !strings.Contains(status, tc.proxy) || tc.api != nobody && !strings.Contains(status, "tries=1") {
				t.Errorf("Proxy-Status %s, want %s", status, tc.proxy)
			}
			if strings.Contains(got.Text, "127.0.0.1") || e.Links != nil {
				t.Errorf("the caller is told too much: %s", got.Text)
			}
		})
	}
}

// A refusal's line says for whom it was, in the way that logs speak of users.
func TestRefusalsNameTheUserByTag(t *testing.T) {
	t.Parallel()
	h := start(t, sidecartest.Config{API: "http://127.0.0.1:1"})
	h.Get("/crm/x", "nobody-there")
	lines := h.logLines("refused a request")
	if len(lines) != 1 || lines[0]["user_tag"] != h.App("hbdev").Manager.Tag(t.Context(), "nobody-there") {
		t.Errorf("logged %v", lines)
	}
	if strings.Contains(h.Logs.String(), "nobody-there") {
		t.Error("the log has the user's identifier")
	}
}
