package relay

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// auditSetting is the setting audit with a file of the test's.
const auditSetting = "audit DIR/audit.jsonl"

// auditLines returns the lines about calls, and fails the test if the log is
// not as it was written.
func auditLines(h *harness) []audit.Line {
	h.t.Helper()
	file := filepath.Join(h.Dir, "audit.jsonl")
	files, err := audit.Rolled(file)
	if err != nil {
		h.t.Fatal(err)
	}
	var lines []audit.Line
	all := audit.Filter{}
	report, err := audit.Verify(append(files, file), audit.VerifyOptions{From: 1, Visit: func(line audit.Line, _ []byte) {
		if all.Match(line) {
			lines = append(lines, line)
		}
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	// The last line may be about to be written.
	if report.Break != nil && report.Break.Problem != audit.Unfinished {
		h.t.Fatalf("the audit log is broken: %v", report.Break)
	}
	return lines
}

// waitForLines returns n lines about calls, and fails if there are more.
func waitForLines(h *harness, n int) []audit.Line {
	h.t.Helper()
	h.WaitFor(fmt.Sprintf("%d lines", n), func() bool { return len(auditLines(h)) >= n })
	lines := auditLines(h)
	if len(lines) != n {
		h.t.Fatalf("%d lines, want %d: %+v", len(lines), n, lines)
	}
	return lines
}

// waitForStop waits until the log was closed in the background.
func waitForStop(h *harness, times int) {
	h.t.Helper()
	h.WaitFor("the end of the audit log", func() bool {
		content, err := os.ReadFile(filepath.Join(h.Dir, "audit.jsonl"))
		return err == nil && strings.Count(string(content), `"kind":"stop"`) == times
	})
}

// tagOf is the tag of a user of hbdev.
func tagOf(h *harness, user string) string {
	hub, _ := h.App().app("hbdev")
	return hub.manager.Tag(h.t.Context(), user)
}

// startAudit starts a Caddy whose HubSpot is api, with the user acme connected.
func startAudit(t *testing.T, api string, options ...harnessOption) *harness {
	t.Helper()
	t.Setenv("NARROW_KEY", narrowKey)
	t.Setenv("OTHER_KEY", otherKey)
	h := startCaddy(t, withQuota(withAPI(hubspotCaddyfile(errorCallers+"\n"+auditSetting, authAndProxy), api), "100000 1s"), options...)
	connect(t, h, "acme", testToken)
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
		lines := waitForLines(h, i+1)
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
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-HubSpot-Correlation-Id", "jane.doe@example.com")
		_, _ = w.Write([]byte("{}"))
	}))
	defer upstream.Close()
	h := startAudit(t, upstream.URL, withAdmin())
	const user = "jane.doe@example.com"
	connect(t, h, user, testToken)
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
	for _, target := range []string{
		"/hubspot/auth/hbdev?userForeignIdentifier=" + url.QueryEscape(user), "/hubspot/connections/hbdev/" + url.PathEscape(user),
		"/hubspot/connections/" + user, "/hubspot/connections/hbdev?after=" + user,
	} {
		h.Get(target, "")
		h.Do("DELETE", target, nil, "Authorization", "Bearer "+narrowKey)
		calls += 2
	}
	waitForLines(h, calls)
	content, err := os.ReadFile(filepath.Join(h.Dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	status := h.Admin(http.MethodGet, "/hubspot/status").Text
	for _, planted := range []string{"jane", "doe", "example.com", "8675309", testToken, testRefreshToken, testCallerKey, narrowKey, "CTest"} {
		if i := strings.Index(string(content), planted); i >= 0 {
			t.Errorf("%q is in the file: …%s…", planted, content[max(0, i-300):min(len(content), i+100)])
		}
		if strings.Contains(status, planted) {
			t.Errorf("%q is in the status: %s", planted, status)
		}
	}
	if !strings.Contains(string(content), tagOf(h, user)) {
		t.Error("the user's tag is not in the file: the test shows nothing")
	}
}

// What callers ask of hubspot_auth has lines of its own kinds.
func TestAuditOfConnections(t *testing.T) {
	h := startAudit(t, "SANDBOX")
	acme := tagOf(h, "acme")
	for i, tc := range []struct {
		method, target, key string
		want                audit.Entry
	}{
		{"GET", "/hubspot/auth/HBdev?userForeignIdentifier=acme", testCallerKey,
			audit.Entry{Kind: audit.KindLink, App: "hbdev", Caller: "tester", UserTag: acme, Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev", testCallerKey,
			audit.Entry{Kind: audit.KindList, App: "hbdev", Caller: "tester", Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev/acme", testCallerKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", Caller: "tester", UserTag: acme, Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev/acme", "no-such-key-0123456789",
			audit.Entry{Kind: audit.KindShow, App: "hbdev", UserTag: acme, Method: "GET", Status: 401, Error: "caller_unauthenticated"}},
		{"GET", "/hubspot/connections/hbdev/initech", narrowKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", Caller: "narrow", UserTag: tagOf(h, "initech"), Method: "GET", Status: 403, Error: "caller_forbidden"}},
		{"DELETE", "/hubspot/connections/hbdev/acme", otherKey,
			audit.Entry{Kind: audit.KindDisconnect, App: "hbdev", Caller: "other-app", UserTag: acme, Method: "DELETE", Status: 403, Error: "caller_forbidden"}},
		{"GET", "/hubspot/connections/jane/acme", testCallerKey,
			audit.Entry{Kind: audit.KindShow, Caller: "tester", Method: "GET", Status: 404, Error: "bad_request"}},
		{"PUT", "/hubspot/connections/hbdev/acme", testCallerKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", UserTag: acme, Method: "PUT", Status: 405, Error: "bad_request"}},
		{"DELETE", "/hubspot/connections/hbdev/acme", testCallerKey,
			audit.Entry{Kind: audit.KindDisconnect, App: "hbdev", Caller: "tester", UserTag: acme, Method: "DELETE", Status: 204}},
	} {
		h.Do(tc.method, tc.target, nil, "Authorization", "Bearer "+tc.key)
		got := waitForLines(h, i+1)[i].Entry
		if (got.CorrelationID != "") != (tc.want.Error != "") {
			t.Errorf("%s %s: correlation id %q", tc.method, tc.target, got.CorrelationID)
		}
		tc.want.Time, tc.want.CorrelationID = got.Time, got.CorrelationID
		if got != tc.want {
			t.Errorf("%s %s:\n%+v, want\n%+v", tc.method, tc.target, got, tc.want)
		}
	}
}

// Clients that go away, before the answer or in the middle of it, have lines.
func TestAuditOfBrokenCalls(t *testing.T) {
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
		{"/crm/v3/imports", 499, auditClientGone},
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
		got := waitForLines(h, i+1)[i]
		if got.Status != tc.status || got.Error != tc.kind || got.Tries != 1 || got.Path != tc.path || got.Portal != testHubID {
			t.Errorf("%s: %+v", tc.path, got.Entry)
		}
	}
}

// Whatever is recorded while Caddy reloads and stops is in the file.
func TestAuditOverReloads(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := newHarness(t)
	text := func(setting string) string {
		return withQuota(withAPI(hubspotCaddyfile(setting, authAndProxy), upstream.URL), "100000 1s")
	}
	if err := h.Load(text(auditSetting)); err != nil {
		t.Fatal(err)
	}
	connect(t, h, "acme", testToken)
	log := h.App().audit
	const callers, each = 4, 25
	calls := func() {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					h.Get("/crm/v3/owners", "acme")
				}
			})
		}
		all.Wait()
	}
	calls()
	// Another limit: the file stays open, and is full by now.
	if err := h.Load(text(auditSetting + " {\n roll_size 64KiB\n }")); err != nil {
		t.Fatal(err)
	}
	if h.App().audit != log {
		t.Error("a reload made another log of the same file")
	}
	calls()
	calls()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	waitForStop(h, 1)
	if lines := auditLines(h); len(lines) != 3*callers*each {
		t.Errorf("%d lines, want %d", len(lines), 3*callers*each)
	}
	files, err := filepath.Glob(filepath.Join(h.Dir, "audit-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, want := range []string{`"msg":"audit log head"`, `"msg":"audit log rolled"`, log.Head().Hash} {
		h.WaitFor(want+" in the log", func() bool { return strings.Contains(h.Logs.String(), want) })
	}

	// Off, and on again while the last one may still be closing.
	for _, setting := range []string{auditSetting, "", auditSetting} {
		if err := h.Load(text(setting)); err != nil {
			t.Fatal(err)
		}
		h.Get("/crm/v3/owners", "acme")
	}
	waitForLines(h, 3*callers*each+2)
}

// The file is opened when a config starts, and not when it is checked.
func TestAuditFileIsOpenedAtStart(t *testing.T) {
	h := newHarness(t)
	text := hubspotCaddyfile(auditSetting, authAndProxy)
	config, err := h.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil {
		t.Fatal(err)
	}
	if entries, _ := filepath.Glob(filepath.Join(h.Dir, "audit*")); len(entries) > 0 {
		t.Errorf("validating made %v", entries)
	}
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(h.Dir, "audit.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAuditFileThatCannotBeOpened(t *testing.T) {
	h := newHarness(t)
	h.WriteFile("notes.txt", "something else\n")
	for setting, want := range map[string]string{
		"audit DIR/none/audit.jsonl": "its folder is not there; make it",
		"audit DIR/notes.txt":        "it does not end with lines of an audit log; move it away, or name another file",
		"audit {env.UNSET_VAR}":      "audit: file:",
	} {
		if err := h.Load(hubspotCaddyfile(setting, authAndProxy)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "audit: ") {
			t.Errorf("%s: %v, want %s", setting, err, want)
		}
	}
	// The config before goes on.
	if err := h.Load(hubspotCaddyfile(auditSetting, authAndProxy)); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(hubspotCaddyfile("audit DIR/none/audit.jsonl", authAndProxy)); err == nil {
		t.Error("a file in no folder was accepted")
	}
	h.Get("/crm/v3/owners", "acme")
	waitForLines(h, 1)
}

// While the file cannot be written, calls are served and counted, and the
// sidecar says that it is not well; afterwards the file says what is missing.
func TestAuditOnADiskThatFails(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL, withAdmin())
	h.Get("/crm/v3/owners", "acme")
	waitForLines(h, 1)
	away := filepath.Join(h.Dir, "audit.jsonl.away")
	if err := os.Rename(filepath.Join(h.Dir, "audit.jsonl"), away); err != nil {
		t.Fatal(err)
	}
	// A folder stands where the file was, so that no other can be made.
	if err := os.Mkdir(filepath.Join(h.Dir, "audit.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the problem", func() bool { return h.App().audit.Problem() != "" })
	for range 3 {
		if got := h.Get("/crm/v3/owners", "acme"); got.StatusCode != http.StatusOK {
			t.Errorf("calling meanwhile: %s", got.Status)
		}
	}
	h.WaitFor("the loss", func() bool { return h.App().audit.Lost() == 3 })
	if got := h.Admin(http.MethodGet, "/hubspot/ready"); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "audit "+filepath.Join(h.Dir, "audit.jsonl")) {
		t.Errorf("ready: %s: %s", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/status"); !strings.Contains(got.Text, `"lost":3,"problem":"`) {
		t.Errorf("status: %s", got.Text)
	}
	if got := h.Admin(http.MethodGet, "/metrics"); !strings.Contains(got.Text, "caddy_hubspot_audit_lost_total 3") {
		t.Error("the metric lacks what was lost")
	}
	if !strings.Contains(h.Logs.String(), "the audit log cannot be written") {
		t.Error("the log says nothing")
	}
	if err := os.Remove(filepath.Join(h.Dir, "audit.jsonl")); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the end of the problem", func() bool { return h.App().audit.Problem() == "" })
	if got := h.Admin(http.MethodGet, "/hubspot/ready"); got.StatusCode != http.StatusOK {
		t.Errorf("ready afterwards: %s: %s", got.Status, got.Text)
	}
	h.Get("/crm/v3/owners", "acme")
	h.WaitFor("a line", func() bool { return h.App().audit.Head().Seq >= 6 })
	report, err := audit.Verify([]string{away, filepath.Join(h.Dir, "audit.jsonl")}, audit.VerifyOptions{From: 1})
	if err != nil || report.Break != nil || report.Lost != 3 {
		t.Errorf("report %+v, %v", report, err)
	}
}

// Two apps of one config write one chain.
func TestAuditOfTwoApps(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	t.Setenv("NARROW_KEY", narrowKey)
	t.Setenv("OTHER_KEY", otherKey)
	h := startCaddy(t, withAPI(hubspotCaddyfile(errorCallers+"\n"+auditSetting, "handle_path /other/* {\n hubspot_proxy other\n }\n hubspot_proxy hbdev"), upstream.URL))
	h.Get("/other/crm/v3/owners", "acme")
	h.Get("/crm/v3/owners", "acme")
	lines := waitForLines(h, 2)
	apps := []string{lines[0].App, lines[1].App}
	slices.Sort(apps)
	if !slices.Equal(apps, []string{"hbdev", "other"}) || lines[0].UserTag == lines[1].UserTag {
		t.Errorf("lines %+v", lines)
	}
}

// User tokens are in the log by their ids: who got one for whom, and who used
// it.
func TestAuditOfUserTokens(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	token := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	h.askForToken("hbdev", jsonType, `{"userForeignIdentifier":"initech"}`, narrowKey)
	h.Do("GET", "/crm/x", nil, "Authorization", "Bearer "+token)
	h.Do("GET", "/hubspot/connections/hbdev/acme", nil, "Authorization", "Bearer "+token)
	lines := waitForLines(h, 4)
	id := lines[0].TokenID
	if id == "" || strings.Contains(token, id) {
		t.Errorf("the issued token has the id %q", id)
	}
	for i, want := range []audit.Entry{
		{Kind: audit.KindToken, Caller: "tester", TokenID: id, UserTag: tagOf(h, "acme"), Method: "POST", Status: 200},
		{Kind: audit.KindToken, Caller: "narrow", UserTag: tagOf(h, "initech"), Method: "POST", Status: 403, Error: "caller_forbidden"},
		{Kind: audit.KindCall, Caller: "tester", TokenID: id, UserTag: tagOf(h, "acme"), Method: "GET", Path: "/crm/{id}", Status: 200, Portal: testHubID, Tries: 1},
		{Kind: audit.KindShow, Caller: "tester", TokenID: id, UserTag: tagOf(h, "acme"), Method: "GET", Status: 200},
	} {
		got := lines[i].Entry
		want.Time, want.App, want.CorrelationID = got.Time, "hbdev", got.CorrelationID
		if got != want {
			t.Errorf("line %d:\n%+v, want\n%+v", i, got, want)
		}
	}
}
