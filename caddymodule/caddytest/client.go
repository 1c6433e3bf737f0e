package caddytest

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// Answer is a response that has been read.
type Answer = sidecartest.Answer

// Upstream starts a HubSpot that answers `{"ok": true}` to everything, and
// returns its address.
func Upstream(t testing.TB) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok": true}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Transport returns a transport for which http://localhost is the Caddy under
// test. It is not shared and keeps no connections.
func (h *Harness) Transport() *http.Transport {
	var dialer net.Dialer
	return &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "localhost:80" {
				addr = h.Addr()
			}
			return dialer.DialContext(ctx, network, addr)
		},
	}
}

// Client returns a client that follows no redirects and keeps no cookies.
func (h *Harness) Client() *http.Client {
	return &http.Client{
		Transport:     h.Transport(),
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Browser returns a client that follows redirects and keeps cookies.
func (h *Harness) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.T.Fatal(err)
	}
	return &http.Client{Transport: h.Transport(), Timeout: 30 * time.Second, Jar: jar}
}

// Do makes a request of the Caddy under test, with header given as pairs of
// name and value, and reads the answer. target is a path or a whole URL.
func (h *Harness) Do(method, target string, body io.Reader, header ...string) Answer {
	h.T.Helper()
	if strings.HasPrefix(target, "/") {
		target = Base + target
	}
	req, err := http.NewRequestWithContext(h.T.Context(), method, target, body)
	if err != nil {
		h.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if http.CanonicalHeaderKey(header[i]) == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	return h.Read(h.Client().Do(req))
}

// Get is [Harness.Do] with the caller's key and, unless it is empty, a user.
func (h *Harness) Get(target, user string) Answer {
	h.T.Helper()
	header := []string{"Authorization", "Bearer " + CallerKey}
	if user != "" {
		header = append(header, "X-HubSpot-User", user)
	}
	return h.Do(http.MethodGet, target, nil, header...)
}

// Raw sends the head of a request as it is, with the caller's key unless it has
// an Authorization, and reads the answer. requestLine is without the protocol.
func (h *Harness) Raw(requestLine string, header ...string) Answer {
	h.T.Helper()
	head := requestLine + " HTTP/1.1\r\n" + strings.Join(header, "\r\n") + "\r\n"
	for name, value := range map[string]string{"Authorization": "Bearer " + CallerKey, "Host": "localhost"} {
		if !strings.Contains(head, "\n"+name+":") {
			head += name + ": " + value + "\r\n"
		}
	}
	conn, err := new(net.Dialer).DialContext(h.T.Context(), "tcp", h.Addr())
	if err != nil {
		h.T.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\r\n\r\n", "\r\n")+"\r\n"); err != nil {
		h.T.Fatal(err)
	}
	method, _, _ := strings.Cut(requestLine, " ")
	return h.Read(http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}))
}

// Read reads an answer.
func (h *Harness) Read(resp *http.Response, err error) Answer {
	h.T.Helper()
	if err != nil {
		h.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.T.Fatalf("reading the answer: %v", err)
	}
	return Answer{Response: resp, Text: string(body)}
}

// InstallLink asks hubspot_auth for the link with which user connects to app.
func (h *Harness) InstallLink(app, user string) string {
	h.T.Helper()
	got := h.Get("/hubspot/auth/"+app+"?userForeignIdentifier="+url.QueryEscape(user), "")
	if got.StatusCode != http.StatusOK {
		h.T.Fatalf("asking for an install link: %s: %s", got.Status, got.Text)
	}
	var link struct {
		URL string `json:"url"`
	}
	got.JSON(h.T, &link)
	return link.URL
}

// Approve follows an install link to the sandbox, consents there for a portal
// at once, and returns where the sandbox sends the browser: the callback.
func (h *Harness) Approve(link string, hubID int64) string {
	h.T.Helper()
	got := h.Do(http.MethodGet, link+"&_sandbox_approve="+strconv.FormatInt(hubID, 10), nil)
	if got.StatusCode != http.StatusFound {
		h.T.Fatalf("approving the install: %s: %s", got.Status, got.Text)
	}
	return got.Header.Get("Location")
}

// Connect connects user of the app hbdev to a portal of the sandbox. The site
// must have hubspot_auth.
func (h *Harness) Connect(user string, hubID int64) {
	h.T.Helper()
	callback := h.Approve(h.InstallLink("hbdev", user), hubID)
	got := h.Do(http.MethodGet, callback, nil, "Accept", "application/json")
	if got.StatusCode != http.StatusOK {
		h.T.Fatalf("coming back from the install: %s: %s", got.Status, got.Text)
	}
}

// ConnectAs stores a connection of the app hbdev as an install would leave it,
// with an access token that lives for half an hour.
func (h *Harness) ConnectAs(user, token string) {
	h.T.Helper()
	_, err := h.App("hbdev").Manager.Connect(h.T.Context(), connection.Install{
		User: user,
		Grant: hubspot.Grant{
			AccessToken: secret.New(token), RefreshToken: secret.New(sidecartest.RefreshToken),
			HubID: sidecartest.HubID, Scopes: []string{"oauth"}, ExpiresIn: 30 * time.Minute,
		},
		Nonce: rand.Text(), NonceUntil: time.Now().Add(time.Minute),
	})
	if err != nil {
		h.T.Fatalf("connecting %s: %v", user, err)
	}
}

// Freeze freezes through the running config.
func (h *Harness) Freeze(s freeze.Selector) {
	h.T.Helper()
	if err := h.Sidecar().Freezes().Freeze(h.T.Context(), freeze.Freeze{Selector: s, Since: time.Now()}); err != nil {
		h.T.Fatalf("freezing: %v", err)
	}
}

// UnfreezeAll lifts all freezes.
func (h *Harness) UnfreezeAll() {
	h.T.Helper()
	if err := h.Sidecar().Freezes().UnfreezeAll(h.T.Context()); err != nil {
		h.T.Fatalf("lifting: %v", err)
	}
}

// Fault tells the sandbox to misbehave; see its /_sandbox/faults.
func (h *Harness) Fault(faults string) {
	h.T.Helper()
	got := h.Do(http.MethodPost, h.SandboxURL+"/_sandbox/faults", strings.NewReader(faults), "Content-Type", "application/json")
	if got.StatusCode != http.StatusOK {
		h.T.Fatalf("setting faults: %s: %s", got.Status, got.Text)
	}
}

// Socket is where [WithSocket] has Caddy serve HTTP.
func (h *Harness) Socket() string { return filepath.Join(h.socketDir, "http.sock") }

// AdminSocket is where [WithAdmin] has Caddy serve the admin API.
func (h *Harness) AdminSocket() string { return filepath.Join(h.socketDir, "admin.sock") }

// AdminClient is a client of the admin API, for whatever host.
func (h *Harness) AdminClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.AdminSocket())
		},
	}}
}

// Admin makes a request of the admin API.
func (h *Harness) Admin(method, path string) Answer {
	h.T.Helper()
	return h.AdminBody(method, path, "", "")
}

// AdminBody is [Harness.Admin] with a body.
func (h *Harness) AdminBody(method, path, body, contentType string) Answer {
	h.T.Helper()
	req, err := http.NewRequestWithContext(h.T.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return h.Read(h.AdminClient().Do(req))
}
