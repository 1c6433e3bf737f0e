package relay_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// soon fails the test if nothing comes within ten seconds.
func soon[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(10 * time.Second):
		t.Fatalf("waiting for %s: it did not come", what)
		panic("not reached")
	}
}

// Each part of a body passes before the next one exists, in both directions.
func TestStreaming(t *testing.T) {
	t.Parallel()
	parts := make(chan string)
	answerOn := make(chan bool)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := make([]byte, 100)
		for {
			n, err := r.Body.Read(buffer)
			if n > 0 {
				parts <- string(buffer[:n])
			}
			if err != nil {
				break
			}
		}
		for i := range 3 {
			fmt.Fprintf(w, "part %d", i)
			_ = http.NewResponseController(w).Flush()
			<-answerOn
		}
	}))
	defer upstream.Close()
	h := startProxy(t, upstream.URL)
	client := dialWire(t, h.Addr())
	client.write(t, "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+"\r\nX-HubSpot-User: acme\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, part := range []string{"one", "two", "three"} {
		client.write(t, fmt.Sprintf("%x\r\n%s\r\n", len(part), part))
		if got := soon(t, "a part of the request", parts); got != part {
			t.Errorf("got %q, want %q", got, part)
		}
	}
	client.write(t, "0\r\n\r\n")
	head, err := readHead(client.r)
	if err != nil || head.status() != 200 {
		t.Fatalf("%+v, %v", head, err)
	}
	for i := range 3 {
		size, _ := readLine(client.r)
		text, err := readLine(client.r)
		if want := fmt.Sprintf("part %d", i); err != nil || text != want {
			t.Fatalf("chunk %s %q, %v; want %q", size, text, err, want)
		}
		answerOn <- true
	}
}

// When the caller goes, so does the request to HubSpot, and nobody is
// alarmed.
func TestClientHangsUp(t *testing.T) {
	t.Parallel()
	began, gone := make(chan bool, 1), make(chan bool, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
		gone <- true
	}))
	defer upstream.Close()
	h := startProxy(t, upstream.URL)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", testBase+"/crm/x", nil)
		req.Header.Set("Authorization", "Bearer "+testCallerKey)
		req.Header.Set("X-HubSpot-User", "acme")
		_, err := h.Client().Do(req)
		done <- err
	}()
	soon(t, "the request", began)
	cancel()
	soon(t, "the end of the request to HubSpot", gone)
	if err := soon(t, "the client's error", done); err == nil {
		t.Error("the client got an answer")
	}
	h.WaitFor("the end of the call", func() bool { return h.gone.Load() == 1 })
	if logs := h.Logs.String(); strings.Contains(logs, `"level":"error"`) {
		t.Errorf("an error is logged:\n%s", logs)
	}
}

// A client that waits to be asked for its body is answered without it.
func TestAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, _ func() error) error {
		_, _ = io.WriteString(w, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
		return errHangUp
	})
	h := startProxy(t, upstream.url())
	for _, tc := range []struct {
		name, header string
		status       int
	}{
		{"by HubSpot", "Authorization: Bearer " + testCallerKey + "\r\nX-HubSpot-User: acme\r\n", 413},
		{"by the sidecar", "X-HubSpot-User: acme\r\n", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client := dialWire(t, h.Addr())
			_ = client.SetDeadline(time.Now().Add(10 * time.Second))
			client.write(t, "PUT /crm/x HTTP/1.1\r\nHost: localhost\r\n"+tc.header+"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
			got, err := client.readAnswer("PUT")
			if err != nil || got.status() != tc.status || got.interim != nil {
				t.Fatalf("%+v, %v", got, err)
			}
			// What comes next on the connection could be the body or another
			// request, so there is no next.
			if got.first("Connection") != "close" {
				t.Errorf("Connection %q", got.first("Connection"))
			}
		})
	}
}

// An answer that breaks off breaks off for the caller too.
func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
		_ = more()
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half\":")
		return errHangUp
	})
	h := startProxy(t, upstream.url())
	client := dialWire(t, h.Addr())
	client.write(t, "GET /crm/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+"\r\nX-HubSpot-User: acme\r\n\r\n")
	if got, err := client.readAnswer("GET"); err == nil {
		t.Errorf("%s with %q passes for a whole answer", got.start, got.body)
	}
}

// trusting has the relay take the certificate of a server.
func trusting(t testing.TB, server *httptest.Server) func(*relay.Config) {
	t.Helper()
	transport := newTransport(t)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	return func(c *relay.Config) { c.Transport = transport }
}

// HubSpot speaks HTTP/2 over TLS, and its certificate counts.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	type seen struct{ proto, target, host, serverName string }
	requests := make(chan seen, 1)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- seen{r.Proto, r.RequestURI, r.Host, r.TLS.ServerName}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "{}")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Sum", "9")
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	defer upstream.Close()
	h := startProxy(t, upstream.URL, trusting(t, upstream))
	got := h.raw(`GET /crm/a%2Fb/é|{x}/..?q=%20|`, "X-HubSpot-User: acme")
	if got.StatusCode != 200 || got.Trailer.Get("X-Sum") != "9" {
		t.Fatalf("%s %s, trailer %v", got.Status, got.Text, got.Trailer)
	}
	want := seen{"HTTP/2.0", `/crm/a%2Fb/é|{x}/..?q=%20|`, strings.TrimPrefix(upstream.URL, "https://"), ""}
	if sent := <-requests; sent != want {
		t.Errorf("sent %+v, want %+v", sent, want)
	}

	h.use(func(c *relay.Config) { c.Transport = newTransport(t) })
	e := h.Get("/crm/x", "acme")
	wantOwnError(t, e, 502, "upstream_unreachable")
	if status := e.Header.Get("Proxy-Status"); !strings.Contains(status, "error=tls_certificate_error") {
		t.Errorf("Proxy-Status %s", status)
	}
}

// A body that breaks off, or is larger than the site allows, is no fault of
// HubSpot's.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), func(c *relay.Config) {
		c.Foreign = func(err error) bool { _, ok := errors.AsType[*http.MaxBytesError](err); return ok }
	})
	h.maxBody.Store(10)
	for target, contentType := range map[string]string{"/crm/x": "text/plain", "/raw/hbdev": formType} {
		got := h.Do("POST", target, io.MultiReader(strings.NewReader("more than ten bytes")), "Authorization", "Bearer "+testCallerKey,
			"X-HubSpot-User", "acme", "Content-Type", contentType)
		if got.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s %s", target, got.Status, got.Text)
		}
	}
	h.WaitFor("two errors that are for somebody else", func() bool { return h.foreign.Load() == 2 })
	for _, target := range []string{"/crm/x", "/raw/hbdev"} {
		client := dialWire(t, h.Addr())
		client.write(t, "POST "+target+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+
			"\r\nX-HubSpot-User: acme\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nnonsense\r\n")
		resp, err := http.ReadResponse(client.r, nil)
		e := wantOwnError(t, h.Read(resp, err), 400, "bad_request")
		if !strings.Contains(e.Message, "broke off") {
			t.Errorf("%s: %s", target, e.Message)
		}
	}
}
