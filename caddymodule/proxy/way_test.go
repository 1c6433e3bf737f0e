package proxy_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// The whole way through Caddy, which wraps bodies and writers. What a relay does
// is tested in package relay.

// What goes up is what came, byte for byte but for what is the sidecar's, and so
// is what comes down.
func TestTransparencyThroughCaddy(t *testing.T) {
	upstream := record(t, "HTTP/1.1 207 Whatever\r\nServer: cloudflare\r\nX-Twice: 1\r\nx-twice: 2\r\nVia: 1.1 edge\r\nSet-Cookie: a=b\r\n"+
		"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n3\r\n\x00\xff!\r\n0\r\nX-Sum: 9\r\n\r\n")
	h := start(t, upstream.url, "handle_path /hs/* {\n hubspot_proxy hbdev\n }\n hubspot_proxy hbdev")
	for target, want := range map[string]string{
		"/": "/", "/crm/a%2Fb?c=%20|&d": "/crm/a%2Fb?c=%20|&d", "/crm/é|{x}/..//y;z?": "/crm/é|{x}/..//y;z?", "/as/acme/crm/%C3%A9é": "/crm/%C3%A9é",
		"/hs/crm/a|b%2Fc?x=%zz": "/crm/a|b%2Fc?x=%zz", "/hs/as/acme/crm/é{}": "/crm/é{}", "/crm/x?hapikey=1&a=%7e": "/crm/x?a=%7e",
	} {
		c := dial(t, h)
		c.send(head("PATCH "+target) + "X-Quote: \"a\\\"b\"\r\nX-Twice: 1\r\nx-twice: 2\r\nX_Under: x\r\nX-Latin: caf\xe9\r\nX-Empty:\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\n" +
			"TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\x00\xff?\r\n0\r\n\r\n")
		resp := c.answer("PATCH")
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 207 || string(got) != "\x00\xff!" || resp.Trailer.Get("X-Sum") != "9" {
			t.Fatalf("%s: %s %q, trailer %v, %v", target, resp.Status, got, resp.Trailer, err)
		}
		if resp.Header.Get("Server") != "cloudflare" || !slices.Equal(resp.Header.Values("X-Twice"), []string{"1", "2"}) || resp.Header.Get("X-HubSpot-Portal") != "4711" ||
			!slices.Equal(resp.Header.Values("Via"), []string{"1.1 edge"}) || resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("Content-Type") != "" {
			t.Errorf("%s: header %v", target, resp.Header)
		}
		sent, body := upstream.last()
		lines := strings.Split(sent, "\r\n")
		if lines[0] != "PATCH "+want+" HTTP/1.1" || string(body) != "\x00\xff?" {
			t.Errorf("%s: sent %q with %q", target, lines[0], body)
		}
		slices.Sort(lines[1:])
		// Caddy takes no header names with _; the order of names is Go's.
		expected := []string{
			"Authorization: Bearer " + caddytest.AccessToken, "Host: " + strings.TrimPrefix(upstream.url, "http://"), "Transfer-Encoding: chunked",
			"X-Empty: ", "X-Latin: caf\xe9", "X-Quote: \"a\\\"b\"", "X-Twice: 1", "X-Twice: 2",
		}
		if !slices.Equal(lines[1:], expected) {
			t.Errorf("%s: sent %q, want %q", target, lines[1:], expected)
		}
	}
}

// Each part passes before the next one exists, both ways at once.
func TestStreamingThroughCaddy(t *testing.T) {
	parts := make(chan string)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		buffer := make([]byte, 100)
		for {
			n, err := r.Body.Read(buffer)
			if n > 0 {
				parts <- string(buffer[:n])
				fmt.Fprintf(w, "got %s", buffer[:n])
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	defer upstream.Close()
	h := start(t, upstream.URL, "log\n hubspot_proxy hbdev")
	c := dial(t, h)
	c.send(head("POST /crm/x") + "Transfer-Encoding: chunked\r\n\r\n")
	var resp *http.Response
	for _, part := range []string{"one", "two", "three"} {
		c.send(fmt.Sprintf("%x\r\n%s\r\n", len(part), part))
		if got := <-parts; got != part {
			t.Errorf("HubSpot got %q, want %q", got, part)
		}
		if resp == nil {
			resp = c.answer("POST")
		}
		text := make([]byte, len("got ")+len(part))
		if _, err := io.ReadFull(resp.Body, text); err != nil || string(text) != "got "+part {
			t.Errorf("%q, %v; want what HubSpot got", text, err)
		}
	}
	c.send("0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// A client that waits to be asked for its body, and one that does not.
func TestEarlyAnswersThroughCaddy(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// Go's server would wait for the upload, too.
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	defer upstream.Close()
	h := start(t, upstream.URL, "log\n request_body {\n max_size 100MB\n }\n hubspot_proxy hbdev")
	c := dial(t, h)
	c.send(head("PUT /crm/x") + "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	if resp := c.answer("PUT"); resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("%s, close %v", resp.Status, resp.Close)
	}
	const size = 4 << 20
	for i := range 10 {
		for _, framing := range []string{
			fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
			fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size),
		} {
			c := dial(t, h)
			c.send(head("POST /files/v3/files") + framing + "begun")
			if resp := c.answer("POST"); resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Fatalf("try %d: %s", i, resp.Status)
			}
			c.send(strings.Repeat("x", size/2))
			_ = c.Close()
		}
	}
	// The connection outlives an error of our own, body and all.
	c = dial(t, h)
	for range 3 {
		c.send(head("POST /oauth/x") + "Content-Length: 2\r\n\r\n{}")
		resp := c.answer("POST")
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusForbidden {
			t.Fatalf("%s, %v", resp.Status, err)
		}
	}
}

// When the caller goes, so does the request to HubSpot, and nobody is alarmed.
func TestClientHangsUpThroughCaddy(t *testing.T) {
	began, gone := make(chan bool, 1), make(chan bool, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
		gone <- true
	}))
	defer upstream.Close()
	h := start(t, upstream.URL, "log\n hubspot_proxy hbdev")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", caddytest.Base+"/crm/x", nil)
		req.Header.Set("Authorization", "Bearer "+caddytest.CallerKey)
		req.Header.Set("X-HubSpot-User", "acme")
		_, err := h.Client().Do(req)
		done <- err
	}()
	<-began
	cancel()
	<-gone
	if err := <-done; err == nil {
		t.Error("the client got an answer")
	}
	h.WaitFor("the access log", func() bool { return strings.Contains(h.Logs.String(), `"status":499`) })
	if logs := h.Logs.String(); strings.Contains(logs, `"level":"error"`) {
		t.Errorf("an error is logged:\n%s", logs)
	}
}

// A body that is larger than the site allows is no fault of HubSpot's.
func TestBodiesThatTheSiteRefuses(t *testing.T) {
	h := start(t, caddytest.Upstream(t), "log\n request_body {\n max_size 10\n }\n hubspot_proxy hbdev")
	for target, contentType := range map[string]string{"/crm/x": "text/plain", "/raw/hbdev": "application/x-www-form-urlencoded"} {
		got := h.Do("POST", target, io.MultiReader(strings.NewReader("more than ten bytes")), "Authorization", "Bearer "+caddytest.CallerKey,
			"X-HubSpot-User", "acme", "Content-Type", contentType)
		if got.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s %s", target, got.Status, got.Text)
		}
	}
}

// HubSpot speaks HTTP/2 over TLS, and its certificate counts.
func TestHTTPSThroughCaddy(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.RequestURI+" "+r.Host)
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	defer upstream.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})
	h := caddytest.New(t)
	file := h.WriteFile("ca.pem", string(ca))
	for setting, proto := range map[string]string{
		"tls_trust_pool file " + file + "\n versions 2":   "HTTP/2.0",
		"tls_trust_pool file " + file + "\n versions 1.1": "HTTP/1.1",
		"tls_timeout 5s": "",
	} {
		text := caddytest.WithAPI(caddytest.Caddyfile("", "hubspot_proxy hbdev {\n transport http {\n "+setting+"\n }\n }"), upstream.URL)
		if err := h.Load(text); err != nil {
			t.Fatal(err)
		}
		h.ConnectAs("acme", caddytest.AccessToken)
		got := h.Raw("GET /crm/a%2Fb/é|{x}/..?q=%20|", "X-HubSpot-User: acme")
		if proto == "" {
			sidecartest.WantOwnError(t, got, 502, "upstream_unreachable")
			if status := got.Header.Get("Proxy-Status"); !strings.Contains(status, "error=tls_certificate_error") {
				t.Errorf("Proxy-Status %s", status)
			}
			continue
		}
		if want := proto + " /crm/a%2Fb/é|{x}/..?q=%20| " + strings.TrimPrefix(upstream.URL, "https://"); got.Text != want {
			t.Errorf("sent %s, want %s", got.Text, want)
		}
	}
}

// The setting user can be what placeholders of Caddy give.
func TestUserOfPlaceholders(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer C")+fmt.Sprint(r.Header["X-Tenant"]))
	}))
	defer upstream.Close()
	h := caddytest.New(t)
	for _, tc := range []struct {
		setting, line, header, want string
	}{
		{"{http.request.header.X-Tenant}", "GET /crm/x", "X-Tenant: acme", "acme[]"},
		{"{header.x-tenant}", "GET /crm/x", "X-Tenant: {http.request.host}", "{http.request.host}[]"},
		{"tenant-{http.request.header.X-Tenant}", "GET /crm/x", "X-Tenant: 7", "tenant-7[7]"},
		{"{http.request.uri.query.tenant}", "GET /crm/x?tenant=%7Bhttp.request.host%7D", "X-Other: 1", "{http.request.host}[]"},
		{"globex", "GET /crm/x", "X-HubSpot-User: acme", "globex[]"},
		{"{http.auth.user.id}", "GET /crm/x", "X-HubSpot-User: acme", ""},
		{"tenant-{http.request.header.X-Tenant}", "GET /crm/x", "X-Other: 1", ""},
	} {
		if err := h.Load(caddytest.WithAPI(caddytest.Caddyfile("", "hubspot_proxy hbdev {\n user "+tc.setting+"\n }"), upstream.URL)); err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"acme", "globex", "tenant-7", "{http.request.host}"} {
			h.ConnectAs(user, "C"+user+"-0000000000")
		}
		got := h.Raw(tc.line, tc.header)
		if tc.want == "" {
			sidecartest.WantOwnError(t, got, 400, "user_required")
			continue
		}
		if text := strings.Replace(got.Text, "-0000000000", "", 1); text != tc.want {
			t.Errorf("%s with %s: %s %s, want %s", tc.setting, tc.header, got.Status, got.Text, tc.want)
		}
	}
	for _, setting := range []string{strings.Repeat("u", 1025), "\"a\tb\""} {
		err := h.Load(caddytest.Caddyfile("", "hubspot_proxy hbdev {\n user "+setting+"\n }"))
		if err == nil || !strings.Contains(err.Error(), "user: ") || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%.10q: loaded with %v", setting, err)
		}
	}
}
