package relay_test

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// asksFor returns the scopes of an install link, as "required | optional".
func asksFor(t *testing.T, link string) string {
	t.Helper()
	if link == "" {
		return ""
	}
	u, err := url.Parse(link)
	if err != nil || u.Path != "/oauth/authorize" || u.Query().Get("state") == "" {
		t.Fatalf("no install link: %q, %v", link, err)
	}
	return u.Query().Get("scope") + " | " + u.Query().Get("optional_scope")
}

// A call that lacks scopes gets the link that asks for them besides what the
// user has granted, and HubSpot's answer as it is. The connection has oauth.
func TestMissingScopesGetALink(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	refusal := func(scopes string) string {
		return `{"status":"error","message":"This app hasn't been granted all required scopes to make this call.",` +
			`"errors":[{"message":"One or more of the following scopes are required.","context":{"requiredGranularScopes":[` + scopes + `]}}],"category":"MISSING_SCOPES"}`
	}
	answers := map[string]string{
		"/one":      jsonAnswer(403, refusal(`"crm.objects.contacts.write"`), "X-HubSpot-Reconnect: https://evil.example/"),
		"/both":     jsonAnswer(403, refusal(`"crm.objects.companies.read","crm.objects.contacts.write","crm.objects.deals.read"`)),
		"/gzip":     fmt.Sprintf("HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(gzipped(refusal(`"crm.objects.contacts.write"`))), gzipped(refusal(`"crm.objects.contacts.write"`))),
		"/required": jsonAnswer(403, refusal(`"crm.objects.contacts.read"`)),
		"/unknown":  jsonAnswer(403, refusal(`"crm.objects.deals.read"`)),
		"/granted":  jsonAnswer(403, refusal(`"oauth"`)),
		"/other":    jsonAnswer(403, strings.Replace(refusal(`"crm.objects.contacts.write"`), "MISSING_SCOPES", "FORBIDDEN", 1), "X-HubSpot-Reconnect: https://evil.example/"),
		"/fine":     jsonAnswer(200, refusal(`"crm.objects.contacts.write"`)),
	}
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		_, path, _ := strings.Cut(m.start, " ")
		path, _, _ = strings.Cut(path, " ")
		_, err := io.WriteString(w, answers[path])
		return err
	})
	h := startProxy(t, upstream.url())
	const required = "oauth crm.objects.contacts.read | "
	token := h.IssueToken("acme")
	narrowed := h.IssueToken("acme", func(u *usertoken.Token) { u.Allow = sidecartest.Rules(t, "GET /*") })
	for _, tc := range []struct{ path, key, want string }{
		{"/one", testCallerKey, required + "crm.objects.contacts.write"},
		{"/both", testCallerKey, required + "crm.objects.contacts.write crm.objects.companies.read"},
		{"/gzip", testCallerKey, required + "crm.objects.contacts.write"},
		{"/required", testCallerKey, required},
		{"/unknown", testCallerKey, ""},
		{"/granted", testCallerKey, ""},
		{"/other", testCallerKey, ""},
		{"/fine", testCallerKey, ""},
		{"/one", token, required + "crm.objects.contacts.write"},
		{"/one", narrowed, ""},
	} {
		got := h.bearer(tc.key, "GET "+tc.path, "X-HubSpot-User: acme")
		if asked := asksFor(t, got.Header.Get("X-HubSpot-Reconnect")); asked != tc.want || len(got.Header.Values("X-HubSpot-Reconnect")) > 1 {
			t.Errorf("%s: the link asks for %q, want %q", tc.path, asked, tc.want)
		}
		if _, body, _ := strings.Cut(answers[tc.path], "\r\n\r\n"); got.Text != body {
			t.Errorf("%s: %s %q", tc.path, got.Status, got.Text)
		}
	}
	got := h.post(formType, form("method", "GET", "url", "/one", "userForeignIdentifier", "acme"))
	if asked := asksFor(t, got.Header.Get("X-HubSpot-Reconnect")); asked != required+"crm.objects.contacts.write" {
		t.Errorf("in an envelope the link asks for %q", asked)
	}
	h.use(func(c *relay.Config) { c.Open = true })
	if got := h.rawWithoutKey("GET /one", "X-HubSpot-User: acme"); got.StatusCode != 403 || got.Header.Get("X-HubSpot-Reconnect") != "" {
		t.Errorf("without a key: %s, a link %v", got.Status, got.Header.Get("X-HubSpot-Reconnect") != "")
	}
	if logs := h.Logs.String(); strings.Contains(logs, "oauth/authorize") {
		t.Error("a link is in the log")
	}
}

// The link of a grant that has ended asks for what was granted, and no more.
func TestReconnectAsksForWhatWasGranted(t *testing.T) {
	t.Parallel()
	for _, optional := range []string{"crm.objects.companies.read", "crm.objects.contacts.write crm.objects.companies.read"} {
		h := start(t, sidecartest.Config{})
		h.ConnectInSandbox("acme", sandbox.DemoHubID, strings.Fields(optional)...)
		h.Fault(`{"revoke":{},"expire_access_tokens":{}}`)
		e := wantOwnError(t, h.Get("/crm/objects/2026-09/contacts", "acme"), 401, "reauth_required")
		if asked, want := asksFor(t, e.Links["reconnect"]), "oauth crm.objects.contacts.read | "+optional; asked != want {
			t.Errorf("the link asks for %q, want %q", asked, want)
		}
		// Who has granted nothing yet is asked for everything.
		e = wantOwnError(t, h.Get("/crm/objects/2026-09/contacts", "globex"), 404, "not_connected")
		if asked, want := asksFor(t, e.Links["connect"]), "oauth crm.objects.contacts.read | crm.objects.contacts.write crm.objects.companies.read"; asked != want {
			t.Errorf("the first link asks for %q, want %q", asked, want)
		}
	}
}

// What calls teach is in the store for all sidecars, and names neither users nor
// what they asked for.
func TestScopesAreLearnt(t *testing.T) {
	t.Parallel()
	h := start(t, sidecartest.Config{Audit: true})
	const user, contact = "person@example.com", "/crm/objects/2026-09/contacts"
	h.ConnectInSandbox(user, sandbox.DemoHubID, "crm.objects.companies.read")
	const secretPath = contact + "/mail%40example.org?idProperty=secret-value"
	for _, tc := range []struct {
		method, target string
		status         int
	}{{"GET", contact, 200}, {"PATCH", secretPath, 403}, {"GET", "/nowhere", 404}} {
		got := h.Do(tc.method, tc.target, strings.NewReader(`{"properties":{"lastname":"Tilda"}}`),
			"Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", user, "Content-Type", "application/json")
		if got.StatusCode != tc.status {
			t.Fatalf("%s %s: %s %s", tc.method, tc.target, got.Status, got.Text)
		}
	}
	r := h.Scopes.Report(t.Context(), "hbdev")
	if r.Problem != nil || len(r.Needed) != 2 || r.Needed["crm.objects.contacts.read"].IsZero() || r.Needed["crm.objects.contacts.write"].IsZero() {
		t.Errorf("needed: %+v", r)
	}
	tag := h.App("hbdev").Manager.Tag(t.Context(), user)
	if len(r.Refusals) != 1 || !slices.Equal(r.Refusals[0].Endpoints, []string{"PATCH " + contact + "/{id}"}) || !slices.Equal(r.Refusals[0].Tags, []string{tag}) {
		t.Errorf("refusals: %+v", r.Refusals)
	}
	text, _, err := h.Store.(connection.DocumentStore).LoadDocument(t.Context(), "scopes")
	if err != nil || !strings.Contains(text, tag) {
		t.Fatalf("the document: %v, %s", err, text)
	}
	for _, private := range []string{"person", "example", "mail", "secret-value", "Tilda", "62515"} {
		if strings.Contains(text, private) {
			t.Errorf("the document has %q: %s", private, text)
		}
	}
}
