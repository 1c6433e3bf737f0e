package vaultstore_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestRedirects is a standby that sends clients to the active node.
func TestRedirects(t *testing.T) {
	v := vault.Server(t)
	for name, tc := range map[string]struct {
		status int
		want   string
	}{
		"307": {http.StatusTemporaryRedirect, ""},
		"308": {http.StatusPermanentRedirect, ""},
		"302": {http.StatusFound, "redirects with status 302"},
		"303": {http.StatusSeeOther, "redirects with status 303"},
	} {
		c := sidecar(t, v)
		standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, v.Address+r.URL.RequestURI(), tc.status)
		}))
		t.Cleanup(standby.Close)
		c.Address = standby.URL
		s := open(t, c)
		if tc.want == "" {
			works(t, s)
			continue
		}
		if _, err := s.Load(t.Context(), key("acme")); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Load = %v; want one with %q", name, err, tc.want)
		}
	}
}

func TestRedirectsThatGoNowhereGood(t *testing.T) {
	v := vault.Server(t)
	var loop *httptest.Server
	loop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, loop.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(loop.Close)
	c := sidecar(t, v)
	c.Address = loop.URL
	if _, err := open(t, c).Load(t.Context(), key("acme")); err == nil || !strings.Contains(err.Error(), "more than once") {
		t.Errorf("a loop: Load = %v; want one that says so", err)
	}

	for _, code := range []int{http.StatusNotModified, http.StatusTemporaryRedirect} {
		nowhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(nowhere.Close)
		c.Address = nowhere.URL
		if _, err := open(t, c).Load(t.Context(), key("acme")); err == nil || !strings.Contains(err.Error(), "redirects with status") {
			t.Errorf("%d without a location: Load = %v; want one that says so", code, err)
		}
	}

	downgrade := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, v.Address+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(downgrade.Close)
	c.Address = downgrade.URL
	c.TLS.CAFile = writeFile(t, pemOf(downgrade))
	if _, err := open(t, c).Load(t.Context(), key("acme")); err == nil || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("https to http: Load = %v; want one that says so", err)
	}
}

func pemOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func TestServerNames(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	c.Address = v.TLSAddress
	c.TLS.CAFile = v.CAFile
	works(t, open(t, c))
	c.TLS.ServerName = "other.example"
	if _, err := open(t, c).Load(t.Context(), key("acme")); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("another server_name: Load = %v; want a refusal of the certificate", err)
	}
	c.Address = strings.Replace(v.TLSAddress, "localhost", "127.0.0.1", 1)
	c.TLS.ServerName = "localhost"
	works(t, open(t, c))
}

// seen is what a made-up Vault was sent. It is made up because Vault's open
// edition has no namespaces.
type seen struct {
	mu       sync.Mutex
	requests []*http.Request
}

func (s *seen) server(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/login") {
			fmt.Fprint(w, `{"auth":{"client_token":"made-up","lease_duration":3600,"renewable":true}}`)
			return
		}
		fmt.Fprint(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestHeaders(t *testing.T) {
	t.Setenv("VAULT_HEADERS", `{"X-Planted": "planted"}`)
	t.Setenv("VAULT_NAMESPACE", "planted")
	t.Setenv("VAULT_TOKEN", "planted")
	t.Setenv("VAULT_WRAP_TTL", "5m")
	var log seen
	s := open(t, vaultstore.Config{
		Address: log.server(t).URL + "/behind/a/prefix/", Namespace: "/team-a/shop/",
		Auth: vaultstore.AppRoleAuth{RoleID: secret.New("r"), SecretID: secret.New("s")},
	})
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"/behind/a/prefix/v1/sys/health":                    {"", ""},
		"/behind/a/prefix/v1/auth/approle/login":            {"team-a/shop", ""},
		"/behind/a/prefix/v1/sys/internal/ui/mounts/secret": {"team-a/shop", "made-up"},
	}
	for _, r := range log.requests {
		headers, ok := want[r.URL.Path]
		if !ok {
			t.Errorf("unexpected request for %s", r.URL.Path)
			continue
		}
		delete(want, r.URL.Path)
		if got := r.Header.Get("X-Vault-Namespace"); got != headers[0] {
			t.Errorf("%s: namespace = %q; want %q", r.URL.Path, got, headers[0])
		}
		if got := r.Header.Get("X-Vault-Token"); got != headers[1] {
			t.Errorf("%s: token = %q; want %q", r.URL.Path, got, headers[1])
		}
		if r.Header.Get("X-Planted") != "" || r.Header.Get("X-Vault-Wrap-TTL") != "" {
			t.Errorf("%s: headers %v are from the environment", r.URL.Path, r.Header)
		}
		if r.Header.Get("X-Vault-Request") != "true" || r.ProtoMajor != 1 {
			t.Errorf("%s: X-Vault-Request = %q over %s; want true over HTTP/1.1", r.URL.Path, r.Header.Get("X-Vault-Request"), r.Proto)
		}
	}
	if len(want) > 0 {
		t.Errorf("requests that were not made: %v", want)
	}
}

// TestImpatientCallers end their contexts while Vault is slow. That is not
// Vault's failure, and others go on.
func TestImpatientCallers(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	proxy := newProxy(t, v.Address)
	c.Address = proxy.URL
	s := open(t, c)
	works(t, s)
	release := make(chan struct{})
	proxy.answerWith(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := s.Load(ctx, key("acme"))
		cancel()
		if !errors.Is(err, connection.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Load = %v; want the context's error and ErrUnavailable", err)
		}
	}
	close(release)
	proxy.answerWith(nil)
	if _, err := s.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Load by a patient caller = %v; want ErrNotFound", err)
	}
}

// TestClose ends a store in the middle of a login and uses it afterwards.
func TestClose(t *testing.T) {
	entered := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	s, err := vaultstore.New(vaultstore.Config{Address: server.URL, Timeout: time.Hour, Auth: vaultstore.TokenAuth{Token: secret.New("t")}})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := s.Load(context.WithoutCancel(t.Context()), key("acme"))
		failed <- err
	}()
	<-entered
	started := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := <-failed; !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("Load during Close = %v; want ErrUnavailable", err)
	}
	if _, err := s.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("Load after Close = %v; want ErrUnavailable", err)
	}
}
