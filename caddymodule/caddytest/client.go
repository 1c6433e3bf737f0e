package caddytest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
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
	sidecartest.ConnectAs(h.T, h.App("hbdev"), user, token)
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
