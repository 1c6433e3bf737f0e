package relay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// tagOf is the tag of a user of hbdev.
func tagOf(h *harness, user string) string {
	return h.App("hbdev").Manager.Tag(h.t.Context(), user)
}

// startAudit starts a relay with an audit log whose HubSpot is api, with the
// user acme connected.
func startAudit(t *testing.T, api string) *harness {
	t.Helper()
	other := sidecartest.Unpaced()
	other.Name = "other"
	h := start(t, sidecartest.Config{
		API: api, Audit: true, Callers: errorCallers(t), Apps: []appconfig.Resolved{sidecartest.Unpaced(), other},
	})
	h.ConnectAs("acme", testToken)
	return h
}

// hubSpotID is what the HubSpot of these tests calls every request.
const hubSpotID = "a43683b0-5717-4ceb-80b4-104d02915d8c"

func answerWithID(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-HubSpot-Correlation-Id", hubSpotID)
	if strings.HasSuffix(r.URL.Path, "/404") {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = w.Write([]byte("{}"))
}

// Each call has a line that says who did what for whom, the refused ones too.
func TestAuditOfCalls(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	for i, tc := range []struct {
		method, target, key, user, body, contentType string
		want                                         audit.Entry
	}{
		{method: "GET", target: "/crm/objects/2026-09/contacts/42?email=jane@example.com", key: testCallerKey, user: "acme",
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "acme"), Portal: testHubID, Method: "GET", Path: "/crm/objects/2026-09/contacts/{id}", Status: 200, Tries: 1, CorrelationID: hubSpotID}},
		{method: "PATCH", target: "/as/acme/crm/v3/objects/contacts/jane%40example.com", key: narrowKey,
			want: audit.Entry{Caller: "narrow", UserTag: tagOf(h, "acme"), Method: "PATCH", Path: "/crm/v3/objects/contacts/{id}", Status: 403, Error: "caller_forbidden"}},
		{method: "GET", target: "/crm/v3/objects/contacts/404", key: testCallerKey, user: "acme",
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "acme"), Portal: testHubID, Method: "GET", Path: "/crm/v3/objects/contacts/{id}", Status: 404, Tries: 1, CorrelationID: hubSpotID}},
		{method: "GET", target: "/as/globex/crm/v3/owners", key: testCallerKey,
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "globex"), Method: "GET", Path: "/crm/v3/owners", Status: 404, Error: "not_connected"}},
		{method: "GET", target: "/as/contacts/crm/v3/owners", key: "no-such-key-0123456789",
			want: audit.Entry{Method: "GET", Path: "/crm/v3/owners", Status: 401, Error: "caller_unauthenticated"}},
		{method: "GET", target: "/crm/v3/owners", key: testCallerKey,
			want: audit.Entry{Caller: "tester", Method: "GET", Path: "/crm/v3/owners", Status: 400, Error: "user_required"}},
		{method: "GET", target: "/oauth/v1/access-tokens/secret", key: testCallerKey, user: "acme",
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "acme"), Method: "GET", Path: "/oauth/v1/access-tokens/{id}", Status: 403, Error: "endpoint_blocked"}},
		{method: "POST", target: "/raw/hbdev", key: testCallerKey, contentType: formType, body: "method=get&url=/crm/v3/objects/deals/7?x=y&userForeignIdentifier=acme",
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "acme"), Portal: testHubID, Method: "GET", Path: "/crm/v3/objects/deals/{id}", Status: 200, Tries: 1, CorrelationID: hubSpotID}},
		{method: "POST", target: "/raw/hbdev", key: testCallerKey, contentType: formType, body: "method=get",
			want: audit.Entry{Caller: "tester", Method: "POST", Path: "/raw/{id}", Status: 400, Error: "bad_request"}},
		{method: "JANE", target: "/crm/v3/owners", key: testCallerKey, user: "acme",
			want: audit.Entry{Caller: "tester", UserTag: tagOf(h, "acme"), Portal: testHubID, Method: "other", Path: "/crm/v3/owners", Status: 200, Tries: 1, CorrelationID: hubSpotID}},
	} {
		header := []string{"Authorization", "Bearer " + tc.key}
		if tc.user != "" {
			header = append(header, "X-HubSpot-User", tc.user)
		}
		if tc.contentType != "" {
			header = append(header, "Content-Type", tc.contentType)
		}
		answer := h.Do(tc.method, tc.target, strings.NewReader(tc.body), header...)
		lines := h.WaitForAuditLines(h.AuditFile, i+1)
		got := lines[i].Entry
		if got.Time.IsZero() {
			t.Errorf("%s: no time", tc.target)
		}
		tc.want.Time, tc.want.Kind, tc.want.App = got.Time, audit.KindCall, "hbdev"
		if tc.want.Error != "" {
			var own ownError
			answer.JSON(t, &own)
			tc.want.CorrelationID = own.CorrelationID
		}
		if got != tc.want {
			t.Errorf("%s %s:\n%+v, want\n%+v", tc.method, tc.target, got, tc.want)
		}
	}
}

// Nothing of a user's, and nothing secret, is in the file, nor in the answers
// about it.
func TestAuditHoldsNoIdentifiers(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-HubSpot-Correlation-Id", "jane.doe@example.com")
		_, _ = w.Write([]byte("{}"))
	}))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	const user = "jane.doe@example.com"
	h.ConnectAs(user, testToken)
	calls := 0
	for _, path := range []string{
		"/crm/v3/objects/contacts/" + user, "/crm/v3/objects/contacts/jane.doe%40example.com", "/contacts/v1/contact/email/" + user + "/profile",
		"/jane/doe", "/crm/v3/objects/contacts/8675309", "/crm//" + user, "/crm/v3/objects/contacts;" + user, "/jane-doe/../x?email=" + user,
	} {
		for _, prefix := range []string{"", "/as/" + url.PathEscape(user), "/as/jane.doe%40example.com"} {
			for _, key := range []string{testCallerKey, narrowKey, testToken} {
				h.rawWithoutKey("GET "+prefix+path, "Authorization: Bearer "+key, "X-HubSpot-User: "+user)
				calls++
			}
		}
	}
	h.WaitForAuditLines(h.AuditFile, calls)
	content, err := os.ReadFile(h.AuditFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{"jane", "doe", "example.com", "8675309", testToken, testRefreshToken, testCallerKey, narrowKey, "CTest"} {
		if i := strings.Index(string(content), planted); i >= 0 {
			t.Errorf("%q is in the file: …%s…", planted, content[max(0, i-300):min(len(content), i+100)])
		}
	}
	if !strings.Contains(string(content), tagOf(h, user)) {
		t.Error("the user's tag is not in the file: the test shows nothing")
	}
}

// Clients that go away, before the answer or in the middle of it, have lines.
func TestAuditOfBrokenCalls(t *testing.T) {
	t.Parallel()
	began := make(chan bool, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/export") {
			_, _ = w.Write([]byte("some"))
			_ = http.NewResponseController(w).Flush()
		}
		began <- true
		<-r.Context().Done()
	}))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	for i, tc := range []struct {
		path   string
		status int
		kind   string
	}{
		{"/crm/v3/imports", 499, "client_gone"},
		{"/crm/v3/export", 200, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", testBase+tc.path, nil)
			req.Header.Set("Authorization", "Bearer "+testCallerKey)
			req.Header.Set("X-HubSpot-User", "acme")
			resp, err := h.Client().Do(req)
			if err == nil {
				// The answer has begun; the client goes in its middle.
				_, _ = resp.Body.Read(make([]byte, 4))
				cancel()
				_ = resp.Body.Close()
			}
			done <- err
		}()
		soon(t, "the request", began)
		if tc.kind != "" {
			cancel()
		}
		_ = soon(t, "the client", done)
		cancel()
		got := h.WaitForAuditLines(h.AuditFile, i+1)[i]
		if got.Status != tc.status || got.Error != tc.kind || got.Tries != 1 || got.Path != tc.path || got.Portal != testHubID {
			t.Errorf("%s: %+v", tc.path, got.Entry)
		}
	}
}

// While the file cannot be written, calls are served and what is lost is
// counted; afterwards the file says what is missing.
func TestAuditOnADiskThatFails(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	h.Get("/crm/v3/owners", "acme")
	h.WaitForAuditLines(h.AuditFile, 1)
	away := h.AuditFile + ".away"
	if err := os.Rename(h.AuditFile, away); err != nil {
		t.Fatal(err)
	}
	// A folder stands where the file was, so that no other can be made.
	if err := os.Mkdir(h.AuditFile, 0o700); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the problem", func() bool { return h.Audit.Problem() != "" })
	for range 3 {
		if got := h.Get("/crm/v3/owners", "acme"); got.StatusCode != http.StatusOK {
			t.Errorf("calling meanwhile: %s", got.Status)
		}
	}
	h.WaitFor("the loss", func() bool { return h.Audit.Lost() == 3 })
	if !strings.Contains(h.Logs.String(), "the audit log cannot be written") {
		t.Error("the log says nothing")
	}
	if err := os.Remove(h.AuditFile); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the end of the problem", func() bool { return h.Audit.Problem() == "" })
	h.Get("/crm/v3/owners", "acme")
	h.WaitFor("a line", func() bool { return h.Audit.Head().Seq >= 6 })
	report, err := audit.Verify([]string{away, h.AuditFile}, audit.VerifyOptions{From: 1})
	if err != nil || report.Break != nil || report.Lost != 3 {
		t.Errorf("report %+v, %v", report, err)
	}
}

// Two apps of one sidecar write one chain.
func TestAuditOfTwoApps(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	h.Get("/crm/v3/owners", "acme")
	h.use(func(c *relay.Config) { c.App = h.App("other") })
	h.Get("/crm/v3/owners", "acme")
	lines := h.WaitForAuditLines(h.AuditFile, 2)
	apps := []string{lines[0].App, lines[1].App}
	slices.Sort(apps)
	if !slices.Equal(apps, []string{"hbdev", "other"}) || lines[0].UserTag == lines[1].UserTag {
		t.Errorf("lines %+v", lines)
	}
}

// A call with a user token has the token's id, and not the token.
func TestAuditOfUserTokens(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	token := h.IssueToken("acme")
	h.Do("GET", "/crm/x", nil, "Authorization", "Bearer "+token)
	got := h.WaitForAuditLines(h.AuditFile, 1)[0].Entry
	if got.TokenID == "" || strings.Contains(token, got.TokenID) {
		t.Errorf("the issued token has the id %q", got.TokenID)
	}
	want := audit.Entry{
		Time: got.Time, Kind: audit.KindCall, App: "hbdev", Caller: "tester", TokenID: got.TokenID, UserTag: tagOf(h, "acme"),
		Method: "GET", Path: "/crm/{id}", Status: 200, Portal: testHubID, Tries: 1, CorrelationID: got.CorrelationID,
	}
	if got != want {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
