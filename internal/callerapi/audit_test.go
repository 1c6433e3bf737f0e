package callerapi_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const otherKey = "other-app-caller-key-0123456789"

// startAudit starts a kit with an audit log, two callers more, and the user
// acme connected without a line.
func startAudit(t *testing.T) *installtest.Kit {
	t.Helper()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Audit: true, Callers: []access.CallerConfig{
		{Name: "narrow", Keys: []secret.Text{secret.New(narrowKey)}, Users: []string{"acme"}},
		{Name: "other-app", Keys: []secret.Text{secret.New(otherKey)}, Apps: []string{"hbprod"}},
	}}})
	k.ConnectInSandbox("acme", sandbox.DemoHubID)
	return k
}

// tagOf is the tag of a user of hbdev.
func tagOf(k *installtest.Kit, user string) string {
	return k.App("hbdev").Manager.Tag(k.T.Context(), user)
}

// What callers ask has lines of its own kinds.
func TestAuditOfConnections(t *testing.T) {
	t.Parallel()
	k := startAudit(t)
	acme := tagOf(k, "acme")
	for i, tc := range []struct {
		method, target, key string
		want                audit.Entry
	}{
		{"GET", "/hubspot/auth/HBdev?userForeignIdentifier=acme", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindLink, App: "hbdev", Caller: "tester", UserTag: acme, Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindList, App: "hbdev", Caller: "tester", Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev/acme", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", Caller: "tester", UserTag: acme, Method: "GET", Status: 200}},
		{"GET", "/hubspot/connections/hbdev/acme", "no-such-key-0123456789",
			audit.Entry{Kind: audit.KindShow, App: "hbdev", UserTag: acme, Method: "GET", Status: 401, Error: "caller_unauthenticated"}},
		{"GET", "/hubspot/connections/hbdev/initech", narrowKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", Caller: "narrow", UserTag: tagOf(k, "initech"), Method: "GET", Status: 403, Error: "caller_forbidden"}},
		{"DELETE", "/hubspot/connections/hbdev/acme", otherKey,
			audit.Entry{Kind: audit.KindDisconnect, App: "hbdev", Caller: "other-app", UserTag: acme, Method: "DELETE", Status: 403, Error: "caller_forbidden"}},
		{"GET", "/hubspot/connections/jane/acme", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindShow, Caller: "tester", Method: "GET", Status: 404, Error: "bad_request"}},
		{"PUT", "/hubspot/connections/hbdev/acme", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindShow, App: "hbdev", UserTag: acme, Method: "PUT", Status: 405, Error: "bad_request"}},
		{"DELETE", "/hubspot/connections/hbdev/acme", sidecartest.CallerKey,
			audit.Entry{Kind: audit.KindDisconnect, App: "hbdev", Caller: "tester", UserTag: acme, Portal: sandbox.DemoHubID, Method: "DELETE", Status: 200}},
	} {
		k.As(tc.key, tc.method, tc.target)
		got := k.WaitForAuditLines(k.AuditFile, i+1)[i].Entry
		if (got.CorrelationID != "") != (tc.want.Error != "") {
			t.Errorf("%s %s: correlation id %q", tc.method, tc.target, got.CorrelationID)
		}
		tc.want.Time, tc.want.CorrelationID = got.Time, got.CorrelationID
		if got != tc.want {
			t.Errorf("%s %s:\n%+v, want\n%+v", tc.method, tc.target, got, tc.want)
		}
	}
}

// User tokens are in the log by their ids: who got one for whom, and who used
// it.
func TestAuditOfUserTokens(t *testing.T) {
	t.Parallel()
	k := startAudit(t)
	token := issueToken(k, `{"userForeignIdentifier":"acme"}`)
	askForToken(k, "hbdev", jsonType, `{"userForeignIdentifier":"initech"}`, narrowKey)
	k.As(token, http.MethodGet, "/hubspot/connections/hbdev/acme")
	lines := k.WaitForAuditLines(k.AuditFile, 3)
	id := lines[0].TokenID
	if id == "" || strings.Contains(token, id) {
		t.Errorf("the issued token has the id %q", id)
	}
	for i, want := range []audit.Entry{
		{Kind: audit.KindToken, Caller: "tester", TokenID: id, UserTag: tagOf(k, "acme"), Method: "POST", Status: 200},
		{Kind: audit.KindToken, Caller: "narrow", UserTag: tagOf(k, "initech"), Method: "POST", Status: 403, Error: "caller_forbidden"},
		{Kind: audit.KindShow, Caller: "tester", TokenID: id, UserTag: tagOf(k, "acme"), Method: "GET", Status: 200},
	} {
		got := lines[i].Entry
		want.Time, want.App, want.CorrelationID = got.Time, "hbdev", got.CorrelationID
		if got != want {
			t.Errorf("line %d:\n%+v, want\n%+v", i, got, want)
		}
	}
}

// No user's identifier and no key is in a line, wherever it stood in the
// request.
func TestAuditHoldsNoUsers(t *testing.T) {
	t.Parallel()
	k := startAudit(t)
	const user = "jane.doe@example.com"
	k.ConnectInSandbox(user, sandbox.DemoHubID)
	calls := 0
	for _, target := range []string{
		"/hubspot/auth/hbdev?userForeignIdentifier=" + url.QueryEscape(user), "/hubspot/connections/hbdev/" + url.PathEscape(user),
		"/hubspot/connections/" + user, "/hubspot/connections/hbdev?after=" + user,
	} {
		k.Get(target, "")
		k.As(narrowKey, http.MethodDelete, target)
		calls += 2
	}
	k.WaitForAuditLines(k.AuditFile, calls)
	content, err := os.ReadFile(k.AuditFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{"jane", "doe", "example.com", sidecartest.CallerKey, narrowKey} {
		if strings.Contains(string(content), planted) {
			t.Errorf("%q is in the file", planted)
		}
	}
	if !strings.Contains(string(content), tagOf(k, user)) {
		t.Error("the user's tag is not in the file: the test shows nothing")
	}
}
