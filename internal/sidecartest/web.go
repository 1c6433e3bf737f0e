package sidecartest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Web makes requests as the clients of a server under test do.
type Web struct {
	T testing.TB
	// SandboxURL is where HubSpot is.
	SandboxURL string
	// ServerAddr returns the address of the server under test.
	ServerAddr func() string
}

// Transport returns a transport for which http://localhost is the server under
// test. It is not shared and keeps no connections.
func (w *Web) Transport() *http.Transport {
	var dialer net.Dialer
	return &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "localhost:80" {
				addr = w.ServerAddr()
			}
			return dialer.DialContext(ctx, network, addr)
		},
	}
}

// Client returns a client that follows no redirects and keeps no cookies.
func (w *Web) Client() *http.Client {
	return &http.Client{
		Transport:     w.Transport(),
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Browser returns a client that follows redirects and keeps cookies.
func (w *Web) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return &http.Client{Transport: w.Transport(), Timeout: 30 * time.Second, Jar: jar}
}

// Answer is a response that has been read.
type Answer struct {
	*http.Response
	Text string
}

// JSON decodes the body into v.
func (a Answer) JSON(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Text), v); err != nil {
		t.Fatalf("decoding %q: %v", a.Text, err)
	}
}

// Do makes a request of the server under test, with header given as pairs of
// name and value, and reads the answer. target is a path or a whole URL.
func (w *Web) Do(method, target string, body io.Reader, header ...string) Answer {
	w.T.Helper()
	if strings.HasPrefix(target, "/") {
		target = Base + target
	}
	req, err := http.NewRequestWithContext(w.T.Context(), method, target, body)
	if err != nil {
		w.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if http.CanonicalHeaderKey(header[i]) == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	return w.Read(w.Client().Do(req))
}

// Get is [Web.Do] with the caller's key and, unless it is empty, a user.
func (w *Web) Get(target, user string) Answer {
	w.T.Helper()
	header := []string{"Authorization", "Bearer " + CallerKey}
	if user != "" {
		header = append(header, "X-HubSpot-User", user)
	}
	return w.Do(http.MethodGet, target, nil, header...)
}

// Read reads an answer.
func (w *Web) Read(resp *http.Response, err error) Answer {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatalf("reading the answer: %v", err)
	}
	return Answer{resp, string(body)}
}

// Approve follows an install link to the sandbox, consents there for a portal
// at once, and returns where the sandbox sends the browser: the callback.
func (w *Web) Approve(link string, hubID int64) string {
	w.T.Helper()
	got := w.Do(http.MethodGet, link+"&_sandbox_approve="+strconv.FormatInt(hubID, 10), nil)
	if got.StatusCode != http.StatusFound {
		w.T.Fatalf("approving the install: %s: %s", got.Status, got.Text)
	}
	return got.Header.Get("Location")
}

// Fault tells the sandbox to misbehave; see its /_sandbox/faults.
func (w *Web) Fault(faults string) {
	w.T.Helper()
	got := w.Do(http.MethodPost, w.SandboxURL+"/_sandbox/faults", strings.NewReader(faults), "Content-Type", "application/json")
	if got.StatusCode != http.StatusOK {
		w.T.Fatalf("setting faults: %s: %s", got.Status, got.Text)
	}
}

// WaitFor waits until condition holds.
func (w *Web) WaitFor(what string, condition func() bool) {
	w.T.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			w.T.Fatalf("waiting for %s: it has not happened", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// QueryOf returns one parameter of a URL.
func QueryOf(t testing.TB, rawURL, name string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get(name)
}

// OwnError is the body of an error of the sidecar.
type OwnError struct {
	Status, Category, SubCategory, Message, CorrelationID, PolicyName string

	Context map[string][]string
	Links   map[string]string
}

// WantOwnError checks that an answer is an error of the sidecar's own.
func WantOwnError(t testing.TB, a Answer, status int, kind string) OwnError {
	t.Helper()
	var e OwnError
	if err := json.Unmarshal([]byte(a.Text), &e); err != nil {
		t.Fatalf("%s with %q: %v", a.Status, a.Text, err)
	}
	if a.StatusCode != status || e.SubCategory != kind || e.Category != "SIDECAR" || e.Status != "error" {
		t.Errorf("%s %s, want %d %s", a.Status, a.Text, status, kind)
	}
	if e.Message == "" || len(e.CorrelationID) != 36 || !strings.HasPrefix(a.Header.Get("Proxy-Status"), "caddy-hubspot; error=") {
		t.Errorf("incomplete: %s, Proxy-Status %q", a.Text, a.Header.Get("Proxy-Status"))
	}
	return e
}

// EndFaults ends all faults of the sandbox.
func (w *Web) EndFaults() {
	w.T.Helper()
	got := w.Do(http.MethodDelete, w.SandboxURL+"/_sandbox/faults", nil)
	if got.StatusCode != http.StatusOK {
		w.T.Fatalf("ending faults: %s: %s", got.Status, got.Text)
	}
}
