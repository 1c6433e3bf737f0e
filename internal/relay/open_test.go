package relay_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

func TestOpen(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := start(t, sidecartest.Config{API: upstream.url(), NoCallers: true}, open, constantUser("acme"), func(c *relay.Config) {
		c.OwnName = func(r *http.Request) bool {
			host, _, _ := strings.Cut(r.Host, ":")
			return host == "crm.internal" || host == "a.team.internal"
		}
	})
	h.ConnectAs("acme", testToken)
	_, port, err := net.SplitHostPort(h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		header []string
		status int
		kind   string
	}{
		{"plain program", nil, 200, ""},
		{"a key that nobody has", []string{"Authorization: Bearer " + testCallerKey}, 401, "caller_unauthenticated"},
		{"an empty key", []string{"Authorization:"}, 401, "caller_unauthenticated"},
		{"localhost in capitals", []string{"Host: LOCALHOST:8080"}, 200, ""},
		{"name of the site", []string{"Host: crm.internal"}, 200, ""},
		{"another name of the site", []string{"Host: a.team.internal:8080"}, 200, ""},
		{"page of the same site", []string{"Host: localhost:" + port, "Sec-Fetch-Site: same-origin", "Origin: http://localhost:" + port}, 200, ""},
		{"address bar", []string{"Sec-Fetch-Site: none"}, 200, ""},
		{"page of another site", []string{"Sec-Fetch-Site: cross-site"}, 403, "caller_forbidden"},
		{"page of another port", []string{"Sec-Fetch-Site: same-site"}, 403, "caller_forbidden"},
		{"one good and one bad", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, 403, "caller_forbidden"},
		{"origin of another site", []string{"Origin: https://evil.example"}, 403, "caller_forbidden"},
		{"origin of another port", []string{"Origin: http://localhost:3000"}, 403, "caller_forbidden"},
		{"origin of another scheme", []string{"Origin: https://localhost"}, 403, "caller_forbidden"},
		{"origin null", []string{"Origin: null"}, 403, "caller_forbidden"},
		{"origin of the site", []string{"Origin: http://localhost"}, 200, ""},
		{"origin of the site with its port", []string{"Origin: http://LOCALHOST:80"}, 200, ""},
		{"link on another site", []string{"Referer: https://evil.example/"}, 403, "caller_forbidden"},
		{"link on another port", []string{"Referer: http://localhost:3000/"}, 403, "caller_forbidden"},
		{"browser that does not say", []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64)"}, 403, "caller_forbidden"},
		{"old browser on a page of the site", []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Host: crm.internal", "Referer: http://crm.internal/page?x"}, 200, ""},
		{"address bar of a browser", []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Sec-Fetch-Site: none"}, 200, ""},
		{"says it was forwarded", []string{"X-Forwarded-For: 203.0.113.1"}, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.rawWithoutKey("GET /crm/x", tc.header...)
			if tc.status != 200 {
				wantOwnError(t, got, tc.status, tc.kind)
			} else if got.Text != `{"ok": true}` {
				t.Errorf("%s %s", got.Status, got.Text)
			}
		})
	}
}

// A Host that no matcher of the site has kept away is looked at as well.
func TestOpenHosts(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := start(t, sidecartest.Config{API: upstream.url(), NoCallers: true}, open, constantUser("acme"))
	h.ConnectAs("acme", testToken)
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:1": true, "localhost.": true, "127.0.0.1": true, "127.1.2.3:9": true, "[::1]": true, "[::1]:80": true, "[::ffff:127.0.0.1]": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "192.0.2.1": false, "0.0.0.0": false, "crm.internal": false,
	} {
		got := h.rawWithoutKey("GET /crm/x", "Host: "+host)
		if (got.Text == `{"ok": true}`) != ok || !ok && got.StatusCode != 403 {
			t.Errorf("Host %s: %s %s", host, got.Status, got.Text)
		}
	}
}

// With callers there, a key counts and nothing else about the request does.
func TestOpenWithCallers(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), open)
	if got := h.raw("GET /as/acme/crm/x", "Sec-Fetch-Site: cross-site"); got.Text != `{"ok": true}` {
		t.Errorf("with a key: %s %s", got.Status, got.Text)
	}
	wantOwnError(t, h.raw("GET /crm/x", "Authorization: Bearer wrong-key-0123456789012"), 401, "caller_unauthenticated")
	if got := h.rawWithoutKey("GET /as/acme/crm/x"); got.Text != `{"ok": true}` {
		t.Errorf("without a key: %s %s", got.Status, got.Text)
	}
	// A link lets its holder connect an account as the user: only callers
	// who have shown a key get one.
	if e := wantOwnError(t, h.rawWithoutKey("GET /as/globex/crm/x"), 404, "not_connected"); e.Links != nil {
		t.Errorf("links %v", e.Links)
	}
	if e := wantOwnError(t, h.raw("GET /as/globex/crm/x"), 404, "not_connected"); e.Links["connect"] == "" {
		t.Errorf("links %v", e.Links)
	}
}
