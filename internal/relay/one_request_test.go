package relay_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// One request means one thing, to us, to HubSpot and to whoever reads the log.

// overHTTP2 makes a request over cleartext HTTP/2, whose :path is sent as it is.
func (h *harness) overHTTP2(method, path string, header http.Header) answer {
	h.t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", h.Addr())
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	h.t.Cleanup(transport.CloseIdleConnections)
	req := (&http.Request{
		Method: method, URL: &url.URL{Scheme: "http", Host: "localhost", Opaque: path}, Host: "localhost", Header: header,
	}).WithContext(h.t.Context())
	return h.Read(transport.RoundTrip(req))
}

// HTTP/2 lets bytes into a path that no request line can have. A server behind
// would end the path there, so that a policy would have judged another one.
func TestRawBytesInTheTarget(t *testing.T) {
	t.Parallel()
	h, upstream := startErrors(t)
	for _, key := range []string{testCallerKey, narrowKey, ""} {
		header := http.Header{"X-Hubspot-User": {"acme"}}
		if key != "" {
			header.Set("Authorization", "Bearer "+key)
		}
		for _, path := range []string{
			"/crm/a/gdpr-delete HTTP/1.1", "/crm/a b", "/ /crm", "/crm/a ", "/as/acme/crm/a b", "/as/ac me/crm/a", "/oauth/v1/token HTTP/1.1",
			"/crm/a?b c", "/crm/a? ", "/crm/objects/2026-09/contacts HTTP/1.1 /search",
		} {
			wantOwnError(t, h.overHTTP2("POST", path, header), 400, "bad_request")
		}
	}
	if n := len(upstream.taken()); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
	// Nor can it have more than one method.
	r := httptest.NewRequest("GET", testBase+"/crm/a", nil)
	r.Method = "POST /crm/x HTTP/1.1"
	r.Header.Set("Authorization", "Bearer "+testCallerKey)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	wantOwnError(t, h.Read(w.Result(), nil), 400, "bad_request")
	if n := len(upstream.taken()); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
	got := h.overHTTP2("POST", "/crm/a%20b?c%20d", http.Header{"X-Hubspot-User": {"acme"}, "Authorization": {"Bearer " + testCallerKey}})
	if got.StatusCode != 200 || upstream.last(t).start != "POST /crm/a%20b?c%20d HTTP/1.1" {
		t.Errorf("encoded: %s %s", got.Status, got.Text)
	}
}

// All that name a user have to agree, whichever two of them do not.
func TestSourcesThatNameDifferentUsers(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startTokens(t)
	const (
		path     = "the path prefix /as/{user}/"
		header   = "the header X-HubSpot-User"
		setting  = "the setting user"
		envelope = "the field userForeignIdentifier of the envelope"
		token    = "the user token"
	)
	users := map[string]userid.Source{
		"":         {Header: "X-Hubspot-User"},
		"constant": {Constant: "acme"},
		"lookup":   {Lookup: func(r *http.Request) string { return r.Header.Get("X-Tenant") }},
	}
	for _, tc := range []struct {
		name, setting string
		// What each source says; empty is nothing.
		path, header, envelope, token string
		// others are the two that are told; none for a call that is served.
		others []string
	}{
		{name: "path and header", path: "globex", header: "acme", others: []string{path, header}},
		{name: "path and envelope", path: "globex", envelope: "acme", others: []string{path, envelope}},
		{name: "path and token", path: "globex", token: "acme", others: []string{path, token}},
		{name: "header and envelope", header: "acme", envelope: "globex", others: []string{header, envelope}},
		{name: "header and token", header: "acme", token: "globex", others: []string{header, token}},
		{name: "envelope and token", envelope: "acme", token: "globex", others: []string{envelope, token}},
		{name: "constant and path", setting: "constant", path: "globex", others: []string{path, setting}},
		{name: "constant and envelope", setting: "constant", envelope: "globex", others: []string{setting, envelope}},
		{name: "constant and token", setting: "constant", token: "globex", others: []string{setting, token}},
		{name: "lookup and path", setting: "lookup", header: "acme", path: "globex", others: []string{path, setting}},
		{name: "lookup and envelope", setting: "lookup", header: "acme", envelope: "globex", others: []string{setting, envelope}},
		{name: "lookup and token", setting: "lookup", header: "acme", token: "globex", others: []string{setting, token}},
		{name: "the last of four", path: "acme", header: "acme", envelope: "acme", token: "globex", others: []string{path, token}},
		{name: "all agree", path: "acme", header: "acme", envelope: "acme", token: "acme"},
		{name: "all agree with the constant", setting: "constant", path: "acme", header: "globex", envelope: "acme", token: "acme"},
		{name: "nothing but the envelope", envelope: "acme"},
		{name: "nothing but the token", token: "acme"},
		{name: "envelope without a user", path: "acme", header: "acme"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h.use(func(c *relay.Config) { c.User = users[tc.setting] })
			key := testCallerKey
			if tc.token != "" {
				key = h.IssueToken(tc.token)
			}
			fields := []string{"Authorization", "Bearer " + key, "Content-Type", formType}
			if tc.header != "" {
				fields = append(fields, "X-HubSpot-User", tc.header, "X-Tenant", tc.header)
			}
			prefix := ""
			if tc.path != "" {
				prefix = "/as/" + tc.path
			}
			method, target, body := "POST", prefix+"/crm/x", ""
			if tc.envelope != "" {
				target, body = prefix+"/raw/hbdev", form("method", "GET", "url", "/crm/x", "userForeignIdentifier", tc.envelope)
			}
			before := len(upstream.taken())
			got := h.Do(method, target, strings.NewReader(body), fields...)
			if tc.others == nil {
				if got.StatusCode != 200 || upstream.last(t).first("Authorization") != "Bearer Cacme" {
					t.Errorf("%s %s", got.Status, got.Text)
				}
				return
			}
			e := wantOwnError(t, got, 400, "bad_request")
			for _, other := range tc.others {
				if !strings.Contains(e.Message, other) {
					t.Errorf("message %q, want one with %q", e.Message, other)
				}
			}
			if len(upstream.taken()) != before || e.Links != nil {
				t.Error("HubSpot was asked, or there is a link")
			}
		})
	}
}

// The list of what is blocked is public, and SDKs send their OAuth calls
// without a key.
func TestBlockedWhoeverAsks(t *testing.T) {
	t.Parallel()
	h, upstream := startErrors(t)
	for _, header := range [][]string{
		nil,
		{"Authorization: Bearer no-such-key-0123456789"},
		{"Authorization: Bearer " + narrowKey},
		{"Authorization: Bearer " + otherKey, "X-HubSpot-User: initech"},
		{"X-HubSpot-User: acme", "X-HubSpot-User: globex"},
	} {
		// The last is answered here if it is spelt as it should be (TestTokenInfo).
		for _, path := range []string{"/oauth/v1/token", "/oauth/v1/access-tokens/x", "/OAuth/2026-09/token?hapikey=x", "/as/acme/oauth/v1/token", "/as/globex//oauth/v1/token", "/oauth/v2/private-apps/get/access-token-info/"} {
			got := h.rawWithoutKey("POST "+path, append([]string{"Content-Length: 0"}, header...)...)
			e := wantOwnError(t, got, 403, "endpoint_blocked")
			if got.Header.Get("WWW-Authenticate") != "" || e.Links != nil {
				t.Errorf("%s: %v, %s", path, got.Header, got.Text)
			}
		}
	}
	// Without a key nothing else is told than that one is missing.
	for _, path := range []string{"/crm/x", "/as/crm/v3/objects/contacts", "/as//crm/x", "/raw/other"} {
		wantOwnError(t, h.rawWithoutKey("GET "+path, "X-HubSpot-User: acme", "X-HubSpot-User: globex"), 401, "caller_unauthenticated")
	}
	e := wantOwnError(t, h.rawWithoutKey("GET /integrations/v1/1/settings?hapikey=x"), 401, "caller_unauthenticated")
	if !strings.Contains(e.Message, "hapikey") {
		t.Errorf("message %q", e.Message)
	}
	if n := len(upstream.taken()); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
	// Who it was is in the metrics all the same.
	if counts := h.metric("caddy_hubspot_requests_total"); counts["app=hbdev caller=narrow code=4xx source=sidecar"] != 6 {
		t.Errorf("counted %v", counts)
	}
}

// Clients join a base URL and a path in more than one way.
func TestBaseURLsOfUsers(t *testing.T) {
	t.Parallel()
	h, upstream := startErrors(t)
	for line, want := range map[string]string{
		"GET /as/acme/crm/x":      "GET /crm/x HTTP/1.1",
		"GET /as/acme//crm/x?a=b": "GET /crm/x?a=b HTTP/1.1",
		"GET /as/acme//":          "GET / HTTP/1.1",
	} {
		if got := h.raw(line); got.StatusCode != 200 || upstream.last(t).start != want {
			t.Errorf("%s: %s, sent %s", line, got.Status, upstream.last(t).start)
		}
	}
	before := len(upstream.taken())
	// RFC 3986 joins /as/acme and /crm/v3/… to /crm/v3/…, and /as/acme and
	// crm/v3/… to /as/crm/v3/….
	for _, word := range []string{"crm", "cms", "marketing", "automation", "files", "contacts", "CRM", "%63rm"} {
		e := wantOwnError(t, h.raw("GET /as/"+word+"/v3/objects/contacts"), 400, "bad_request")
		if !strings.Contains(e.Message, "/as/{user}/") || e.Links != nil {
			t.Errorf("%s: %s, links %v", word, e.Message, e.Links)
		}
	}
	if len(upstream.taken()) != before {
		t.Error("HubSpot was asked")
	}
}

// A relative Location stays with the user whom the path names.
func TestRelativeLocations(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ line, location, want string }{
		{"GET /as/acme/crm/x", "/crm/y?z", "/as/acme/crm/y?z"},
		{"GET /as/acme//crm/x", "/crm/y", "/as/acme//crm/y"},
		{"GET /as/%61cme/", "/", "/as/%61cme/"},
		{"GET /as/acme/crm/x", "y", "y"},
		{"GET /as/acme/crm/x", "/../y?a=/../b", "/as/acme/y?a=/../b"},
		{"GET /as/acme/crm/x", "/crm/%2E%2e/../../../y", "/as/acme/y"},
		{"GET /as/acme/crm/a%2Fb", "../../../y#a", "/as/acme/y#a"},
		{"GET /as/acme/crm/a/b", "../c%2Fd", "/as/acme/crm/c%2Fd"},
		{"GET /as/acme/crm/x", "https://app.hubspot.com/../y", "https://app.hubspot.com/../y"},
		{"GET /as/acme/crm/x", "?after=2", "?after=2"},
		{"GET /as/acme/crm/x", "//elsewhere.example/y", "//elsewhere.example/y"},
		{"GET /as/acme/crm/x", "https://app.hubspot.com/y", "https://app.hubspot.com/y"},
		{"GET /crm/x", "/crm/y", "/crm/y"},
		{"GET /hs/as/acme/crm/x", "/crm/y", "/hs/as/acme/crm/y"},
		{"GET /hs/crm/x", "/crm/y", "/crm/y"},
	} {
		h := startProxy(t, echoing(t, jsonAnswer(302, "{}", "Location: "+tc.location)).url())
		h.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/hs/") {
				http.StripPrefix("/hs", h).ServeHTTP(w, r)
				return
			}
			h.ServeHTTP(w, r)
		}))
		got := h.raw(tc.line, "X-HubSpot-User: acme")
		if location := got.Header.Get("Location"); got.StatusCode != 302 || location != tc.want {
			t.Errorf("%s to %s: %s, Location %s, want %s", tc.line, tc.location, got.Status, location, tc.want)
		}
	}
}
