package sandbox_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestOptionsAreChecked(t *testing.T) {
	app := func(change func(*sandbox.App)) sandbox.Options {
		a := sandbox.DemoApp()
		change(&a)
		return sandbox.Options{Apps: []sandbox.App{a}}
	}
	tests := []struct {
		name, want string
		opts       sandbox.Options
	}{
		{"no client id", "Apps[0].ClientID", app(func(a *sandbox.App) { a.ClientID = "" })},
		{"no secret", "Apps[0].ClientSecret", app(func(a *sandbox.App) { a.ClientSecret = secret.Text{} })},
		{"no scopes", "Apps[0].Scopes", app(func(a *sandbox.App) { a.Scopes = nil })},
		{"two scopes in one", "is not a scope", app(func(a *sandbox.App) { a.Scopes = []string{"oauth content"} })},
		{"scope in two classes", "a scope has one class", app(func(a *sandbox.App) { a.OptionalScopes = []string{"oauth"} })},
		{"redirect URI", "Apps[0].RedirectURIs", app(func(a *sandbox.App) { a.RedirectURIs = []string{"http://app.example.com/"} })},
		{"redirect to an address", "IP addresses are not supported", app(func(a *sandbox.App) { a.RedirectURIs = []string{"https://10.0.0.1/"} })},
		{"app twice", "there twice", sandbox.Options{Apps: []sandbox.App{sandbox.DemoApp(), sandbox.DemoApp()}}},
		{"portal without id", "Portals[0].HubID", sandbox.Options{Portals: []sandbox.Portal{{}}}},
		{"portal twice", "there twice", sandbox.Options{Portals: []sandbox.Portal{{HubID: 1}, {HubID: 1}}}},
		{"quota", "Quota", sandbox.Options{Quota: sandbox.Quota{Requests: 5}}},
		{"search quota", "SearchQuota", sandbox.Options{SearchQuota: sandbox.Quota{Interval: time.Second}}},
		{"lifetime", "TokenLifetime", sandbox.Options{TokenLifetime: time.Millisecond}},
		{"code lifetime", "AuthCodeLifetime", sandbox.Options{AuthCodeLifetime: -1}},
		{"custom properties", "CustomProperties", sandbox.Options{CustomProperties: map[string][]string{"tickets": {"x"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := sandbox.New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, remote, host string
		want               int
	}{
		{"IPv4 loopback", "127.0.0.1:5000", "localhost:4000", 200},
		{"IPv6 loopback", "[::1]:5000", "[::1]:4000", 200},
		{"mapped loopback", "[::ffff:127.0.0.1]:5000", "127.0.0.1", 200},
		{"name below localhost", "127.0.0.1:5000", "hubspot.localhost:4000", 200},
		{"unix socket", "@", "anything.example.com", 200},
		{"public peer", "192.0.2.7:5000", "localhost:4000", 403},
		{"private peer", "10.0.0.7:5000", "localhost:4000", 403},
		{"IPv6 peer", "[2001:db8::7]:5000", "localhost:4000", 403},
		{"rebound name", "127.0.0.1:5000", "evil.example:4000", 403},
		{"name that begins well", "127.0.0.1:5000", "localhost.evil.example", 403},
		{"no host", "127.0.0.1:5000", "", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/", "/_sandbox/stats", "/_sandbox/echo/x"} {
				req := httptest.NewRequest("GET", path, nil)
				req.RemoteAddr, req.Host = tt.remote, tt.host
				rec := httptest.NewRecorder()
				box.ServeHTTP(rec, req)
				if rec.Code != tt.want {
					t.Errorf("%s: status %d, want %d", path, rec.Code, tt.want)
				}
				if tt.want == 403 && !strings.Contains(rec.Body.String(), "sandbox") {
					t.Errorf("body %s", rec.Body)
				}
			}
		})
	}
	t.Run("over a real unix socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &httptest.Server{Listener: listener, Config: &http.Server{Handler: box}}
		srv.Start()
		defer srv.Close()
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		}}
		defer client.CloseIdleConnections()
		resp, err := client.Get("http://sandbox.internal/_sandbox/stats")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestOtherSitesCannotControlIt(t *testing.T) {
	r := newRig(t, nil)
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/_sandbox/reset", ""},
		{"POST", "/_sandbox/faults", `{"token_lifetime":"5s"}`},
		{"DELETE", "/_sandbox/faults", ""},
	} {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
		} {
			if a := r.do(tt.method, tt.path, tt.body, header...); a.status != http.StatusForbidden {
				t.Errorf("%s %s with %v: status %d, want 403", tt.method, tt.path, header, a.status)
			}
		}
		for _, header := range [][]string{nil, {"Sec-Fetch-Site", "same-origin"}, {"Origin", r.url}} {
			if a := r.do(tt.method, tt.path, tt.body, header...); a.status >= 300 {
				t.Errorf("%s %s with %v: status %d", tt.method, tt.path, header, a.status)
			}
		}
	}
}

func TestIndexPage(t *testing.T) {
	for _, path := range []string{"/", "/_sandbox"} {
		r := newRig(t, nil)
		r.do("GET", path, "").want(200).has("This is not HubSpot", sandbox.DemoClientID, sandbox.DemoClientSecret, "acme.example.com", "eu1", r.url)
	}
	r := newRig(t, func(o *sandbox.Options) {
		o.Apps = []sandbox.App{{ClientID: "mine", ClientSecret: secret.New("do-not-show-this"), Scopes: []string{"oauth"}, RedirectURIs: []string{"https://a.example.com/cb"}}}
	})
	if a := r.do("GET", "/", "").want(200).has("mine", "https://a.example.com/cb"); strings.Contains(a.body, "do-not-show-this") {
		t.Error("shows a configured client secret")
	}
}

func TestStatsAndReset(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	r.connect("optional_scope", "-")
	r.refresh(got.refresh).want(200)
	r.refresh(got.refresh).want(200)
	r.post("/oauth/v1/token", "grant_type", "refresh_token", "refresh_token", got.refresh).want(200)
	r.api("GET", contacts, got.access, "").want(200)
	r.api("GET", contacts+"/9999999", got.access, "").want(404)
	id := r.api("POST", contacts, got.access, `{"properties":{"email":"gone@example.com"}}`).want(201).at("id").(string)
	r.do("GET", contacts, "").want(401)
	r.do("BREW", "/nothing", "").want(404)
	r.fault(`{"token_lifetime":"60s"}`)

	a := r.do("GET", "/_sandbox/stats", "").want(200)
	var s sandbox.Stats
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Grants) != 1 {
		t.Fatalf("grants %+v", s.Grants)
	}
	g := s.Grants[0]
	if !strings.HasPrefix(g.Grant, "g_") || g.HubID != sandbox.DemoHubID || g.ClientID != sandbox.DemoClientID || g.Status != "active" ||
		g.Installs != 2 || g.Refreshes != 3 || g.RefusedRefreshes != 0 || g.MaxConcurrentRefreshes != 1 {
		t.Errorf("grant %+v", g)
	}
	if s.LegacyV1Requests != 1 || s.Endpoints["POST /oauth/v1/token"]["200"] != 1 || s.Endpoints["POST /oauth/{version}/token"]["200"] != 4 {
		t.Errorf("endpoints %v, legacy %d", s.Endpoints, s.LegacyV1Requests)
	}
	if e := s.Endpoints["GET /crm/objects/{version}/{type}"]; e["200"] != 1 || e["401"] != 1 || s.Endpoints["(other) (unknown path)"]["404"] != 1 {
		t.Errorf("endpoints %v", s.Endpoints)
	}
	if p := s.Portals; len(p) != 1 || p[0].Requests != 3 || p[0].Statuses["404"] != 1 || p[0].Statuses["201"] != 1 {
		t.Errorf("portals %+v", p)
	}
	for _, leak := range []string{got.access, got.refresh} {
		if strings.Contains(a.body, leak) {
			t.Error("the statistics show a token")
		}
	}

	r.do("POST", "/_sandbox/reset", "").want(http.StatusNoContent)
	r.do("GET", "/_sandbox/faults", "").want(200).has(`"token_lifetime":"30m0s"`)
	r.refresh(got.refresh).want(400)
	r.api("GET", contacts, got.access, "").want(401)
	if s := r.box.Stats(); len(s.Grants) != 0 || len(s.Portals) != 0 || s.LegacyV1Requests != 0 {
		t.Errorf("after the reset: %+v", s)
	}
	r.api("GET", contacts+"/"+id, r.connect().access, "").want(404)
}

func TestEcho(t *testing.T) {
	r := newRig(t, nil)
	t.Run("as it came", func(t *testing.T) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw := "PATCH /_sandbox/echo//a/../b%2Fc;x=1?q=%20+&q HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n" +
			"X-Odd:  two \r\nx-odd: three\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n" +
			"3\r\n\x00\xff1\r\n0\r\nX-Sum: abc\r\n\r\n"
		if _, err := conn.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if _, err := buf.ReadFrom(conn); err != nil {
			t.Fatal(err)
		}
		var e sandbox.Echo
		_, body, _ := strings.Cut(buf.String(), "\r\n\r\n")
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%v: %s", err, buf.String())
		}
		if e.Method != "PATCH" || e.RequestURI != "/_sandbox/echo//a/../b%2Fc;x=1?q=%20+&q" || e.Host != "localhost" || e.ContentLength != -1 {
			t.Errorf("echo %+v", e)
		}
		if got, _ := base64.StdEncoding.DecodeString(e.Body); string(got) != "\x00\xff1" {
			t.Errorf("body %q", got)
		}
		wantHeaders := []sandbox.NameValue{{"Authorization", "Bearer t"}, {"Connection", "close"}, {"X-Odd", "two"}, {"X-Odd", "three"}}
		if !slices.Equal(e.Headers, wantHeaders) {
			t.Errorf("headers %v", e.Headers)
		}
		if !slices.Equal(e.Trailers, []sandbox.NameValue{{"X-Sum", "abc"}}) || !slices.Equal(e.TransferEncoding, []string{"chunked"}) {
			t.Errorf("trailers %v, transfer encoding %v", e.Trailers, e.TransferEncoding)
		}
	})
	t.Run("any method", func(t *testing.T) {
		for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
			a := r.do(method, "/_sandbox/echo", "", "Origin", "https://evil.example").want(200)
			if a.at("method") != method || a.at("body") != "" || a.at("trailers") == nil || a.at("transferEncoding") == nil {
				t.Errorf("%s: %s", method, a.body)
			}
		}
		r.do("GET", "/_sandbox/echoes", "").want(404)
	})
}

// syncBuffer is a log sink.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestLogsHoldNoSecrets(t *testing.T) {
	var logs syncBuffer
	r := newRig(t, func(o *sandbox.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	const state, verifier = "planted-state", "planted-verifier-planted-verifier-planted-verifier"
	code := r.code("state", state)
	got := r.exchange(code, "code_verifier", verifier)
	r.fault(`{"rotate_refresh_tokens":true}`)
	rotated := r.refresh(got.refresh).want(200).at("refresh_token").(string)
	r.refresh(got.refresh).want(400)
	r.do("GET", authorizePath("state", state), "").want(200)
	r.do("GET", authorizePath("state", state, "_sandbox_deny", "x"), "").want(302)
	r.do("GET", authorizePath("state", state, "client_id", "x"), "").want(400)
	r.do("GET", "/oauth/v1/access-tokens/"+got.access, "").want(200)
	r.do("GET", "/oauth/v1/refresh-tokens/"+rotated, "").want(200)
	r.do("GET", "/nothing/"+got.access+"?code="+code, "").want(404)
	r.post("/oauth/v3/token/introspect", "token", got.access).want(200)
	r.api("GET", contacts, got.access, "").want(200)
	r.api("DELETE", "/appinstalls/v3/external-install", got.access, "").want(204)
	r.do("POST", "/_sandbox/echo/x?code="+code, got.refresh, "Authorization", "Bearer "+got.access).want(200)
	for _, event := range []string{"consent given", "app installed", "token refreshed", "app uninstalled", "faults changed", "sandbox request"} {
		if !strings.Contains(logs.String(), event) {
			t.Errorf("no log line says %q", event)
		}
	}
	for name, planted := range map[string]string{
		"code": code, "access token": got.access, "refresh token": got.refresh, "rotated token": rotated,
		"state": state, "verifier": verifier, "client secret": sandbox.DemoClientSecret,
	} {
		if strings.Contains(logs.String(), planted) {
			t.Errorf("the log holds the %s", name)
		}
	}
}

// TestConcurrentUse gives the race detector something to look at.
func TestConcurrentUse(t *testing.T) {
	r := newRig(t, noQuota)
	got := r.connect()
	var wg sync.WaitGroup
	work := []func(){
		func() { r.refresh(got.refresh) },
		func() { r.api("GET", contacts+"?limit=5", got.access, "") },
		func() { r.api("POST", contacts, got.access, `{"properties":{"firstname":"N"}}`) },
		func() { r.api("PATCH", contacts+"/105", got.access, `{"properties":{"city":"Cork"}}`) },
		func() { r.api("POST", contacts+"/search", got.access, `{"query":"a","sorts":["email"]}`) },
		func() { r.connect() },
		func() { r.fault(`{"expire_access_tokens":{},"api":{"delay":"1ms","times":1}}`) },
		func() { r.do("GET", "/_sandbox/stats", "") },
		func() { r.do("DELETE", "/_sandbox/faults", "") },
		func() { r.box.Reset() },
	}
	for _, job := range work[:9] {
		wg.Go(func() {
			for range 10 {
				job()
			}
		})
	}
	wg.Wait()
	wg.Go(func() { r.api("GET", contacts, got.access, "") })
	work[9]()
	wg.Wait()
}

func BenchmarkGetObject(b *testing.B) {
	box, err := sandbox.New(sandbox.Options{DisableQuota: true})
	if err != nil {
		b.Fatal(err)
	}
	serve := func(method, target, body, kind, token string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, target, strings.NewReader(body))
		req.RemoteAddr, req.Host = "127.0.0.1:1", "localhost"
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		box.ServeHTTP(rec, req)
		return rec
	}
	rec := serve("GET", authorizePath("_sandbox_approve", hub(sandbox.DemoHubID)), "", "", "")
	_, code, _ := strings.Cut(rec.Header().Get("Location"), "code=")
	code, _, _ = strings.Cut(code, "&")
	rec = serve("POST", tokenPath, formBody("grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI), form, "")
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Token == "" {
		b.Fatal(err)
	}
	for b.Loop() {
		if rec := serve("GET", contacts+"/101", "", "", got.Token); rec.Code != 200 {
			b.Fatal(rec.Code)
		}
	}
}
