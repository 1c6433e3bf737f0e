package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

// start starts a Caddy with a site in front of api, with the user acme
// connected.
func start(t *testing.T, api, site string) *caddytest.Harness {
	t.Helper()
	h := caddytest.Start(t, caddytest.Unpaced(caddytest.WithAPI(caddytest.Caddyfile("", site), api)))
	h.ConnectAs("acme", caddytest.AccessToken)
	return h
}

// head is a request head of the user acme, but for its end.
func head(requestLine string) string {
	return requestLine + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + caddytest.CallerKey + "\r\nX-HubSpot-User: acme\r\n"
}

// client is a connection on which a test writes requests by hand.
type client struct {
	net.Conn
	*bufio.Reader
	t testing.TB
}

func dial(t testing.TB, h *caddytest.Harness) *client {
	t.Helper()
	conn, err := net.Dial("tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{conn, bufio.NewReader(conn), t}
}

func (c *client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the head of an answer.
func (c *client) answer(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// recorder is an upstream that records the heads of requests as they stood on
// the wire, and answers with fixed bytes.
type recorder struct {
	url string

	mu    sync.Mutex
	heads []string
	body  []byte
}

func record(t testing.TB, answer string) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &recorder{url: "http://" + listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn, answer)
		}
	}()
	return r
}

func (r *recorder) serve(conn net.Conn, answer string) {
	defer func() { _ = conn.Close() }()
	var wire bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &wire)))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(req.Body)
	text, _, _ := strings.Cut(wire.String(), "\r\n\r\n")
	r.mu.Lock()
	r.heads, r.body = append(r.heads, text), body
	r.mu.Unlock()
	_, _ = io.WriteString(conn, answer)
}

func (r *recorder) last() (head string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heads) == 0 {
		return "", nil
	}
	return r.heads[len(r.heads)-1], r.body
}
