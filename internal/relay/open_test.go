package relay

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// openCaddyfile has no caller, and a site with names.
func openCaddyfile(site string) string {
	text := hubspotCaddyfile("", site)
	begin, end := strings.Index(text, "\t\tcaller tester"), strings.Index(text, "\t\tendpoints")
	text = text[:begin] + text[end:]
	return strings.Replace(text, "http://localhost:0 {", "http://localhost:0, http://crm.internal:0, http://*.team.internal:0 {", 1)
}

func TestOpen(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startCaddy(t, withAPI(openCaddyfile("hubspot_proxy hbdev {\n open\n user acme\n }"), upstream.url()))
	connect(t, h, "acme", testToken)
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
	upstream := newWireServer(t, plainAnswer)
	text := strings.Replace(openCaddyfile("hubspot_proxy hbdev {\n open\n user acme\n }"),
		"http://localhost:0, http://crm.internal:0, http://*.team.internal:0 {", "http://:0 {", 1)
	h := startCaddy(t, withAPI(text, upstream.url()))
	connect(t, h, "acme", testToken)
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
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "hubspot_proxy hbdev {\n open\n user acme\n }")
	if got := h.raw("GET /crm/x", "Sec-Fetch-Site: cross-site"); got.Text != `{"ok": true}` {
		t.Errorf("with a key: %s %s", got.Status, got.Text)
	}
	wantOwnError(t, h.raw("GET /crm/x", "Authorization: Bearer wrong-key-0123456789012"), 401, "caller_unauthenticated")
	if got := h.rawWithoutKey("GET /crm/x"); got.Text != `{"ok": true}` {
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

func TestPeers(t *testing.T) {
	withLocal := func(r *http.Request, addr net.Addr) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
	}
	for _, tc := range []struct {
		remote string
		local  net.Addr
		want   bool
	}{
		{"127.0.0.1:1", &net.TCPAddr{}, true},
		{"127.9.9.9:1", nil, true},
		{"[::1]:1", nil, true},
		{"[::ffff:127.0.0.1]:1", nil, true},
		{"@", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}, true},
		{"", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}, true},
		{"@", &net.TCPAddr{}, false},
		{"192.0.2.1:1", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
		{"10.0.0.1:1", nil, false},
		{"[fe80::1%eth0]:1", nil, false},
		{"", nil, false},
		{"localhost:1", nil, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = tc.remote
		if tc.local != nil {
			r = withLocal(r, tc.local)
		}
		if got := isLocalPeer(r); got != tc.want {
			t.Errorf("%q at %v: %v", tc.remote, tc.local, got)
		}
	}
}

func TestPeersOverUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan bool, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- isLocalPeer(r) })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if !<-seen {
		t.Error("a peer on a unix socket is not local")
	}
}

func TestOriginOfTLSSite(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://app.example.com/", nil)
	r.TLS = new(tls.ConnectionState)
	for origin, want := range map[string]bool{
		"https://app.example.com": true, "https://app.example.com:443": true, "https://APP.example.com": true,
		"http://app.example.com": false, "https://app.example.com:8443": false, "https://example.com": false, "app.example.com": false, "": false, "%": false,
	} {
		if got := isOriginOf(origin, r); got != want {
			t.Errorf("%s: %v", origin, got)
		}
	}
}

func TestProxyWithoutCallers(t *testing.T) {
	h := newHarness(t)
	err := h.Load(openCaddyfile("hubspot_proxy hbdev"))
	if err == nil || !strings.Contains(err.Error(), "nobody could call") || !strings.Contains(err.Error(), "open") {
		t.Errorf("loaded with %v", err)
	}
}
