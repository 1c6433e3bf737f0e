// Package caddytest runs a whole Caddy with all modules in the process of a
// test, and a sandbox HubSpot beside it. Caddy's config is global to the
// process, so its tests cannot be parallel. What needs no Caddy is tested with
// package sidecartest.
package caddytest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// What a harness puts into the environment, for the placeholders of a
// Caddyfile, and what its clients go by.
const (
	ClientID     = sidecartest.ClientID     // {env.HUBSPOT_CLIENT_ID}
	ClientSecret = sidecartest.ClientSecret // {env.HUBSPOT_CLIENT_SECRET}
	// CallerKey is the key of the caller tester, {env.CALLER_KEY}.
	CallerKey = sidecartest.CallerKey
	// RedirectURI is where HubSpot sends users: the harness's clients take
	// http://localhost for the Caddy under test, whatever its port.
	RedirectURI = sidecartest.RedirectURI
	// Base is the address of the Caddy under test for those clients.
	Base = sidecartest.Base
	// AccessToken is one for [Harness.ConnectAs].
	AccessToken = sidecartest.AccessToken
)

// Harness is a whole Caddy with a sandbox HubSpot.
type Harness struct {
	sidecartest.Web
	// Sandbox is HubSpot, served at SandboxURL.
	Sandbox *sandbox.Sandbox
	// Dir is a directory of this test: Dir/storage is Caddy's storage, and
	// Dir/data its data directory.
	Dir string
	// Logs is everything that Caddy has logged, as JSON, at debug level.
	Logs *Log

	sandboxOptions sandbox.Options
	wrapSandbox    func(http.Handler) http.Handler
	admin          bool
	autosave       bool
	// listen is where Caddy serves HTTP.
	listen string
	// socketDir has a short path: that of a unix socket must be.
	socketDir string
}

// Option changes a harness before Caddy starts.
type Option func(h *Harness)

// WithAdmin starts Caddy's admin API, on a unix socket; see [Harness.Admin].
func WithAdmin() Option {
	return func(h *Harness) { h.admin = true }
}

// WithAutosave has Caddy save its config, to Dir/autosave.json.
func WithAutosave() Option {
	return func(h *Harness) {
		before := caddy.ConfigAutosavePath
		h.T.Cleanup(func() { caddy.ConfigAutosavePath = before })
		h.autosave, caddy.ConfigAutosavePath = true, filepath.Join(h.Dir, "autosave.json")
	}
}

// WithSocket has Caddy serve HTTP on a unix socket, which everybody may open;
// see [Harness.Socket].
func WithSocket() Option {
	return func(h *Harness) { h.listen = "unix/" + h.Socket() + "|0666" }
}

// WithSandboxQuota has the sandbox grant another quota than HubSpot's.
func WithSandboxQuota(requests int, interval time.Duration) Option {
	return func(h *Harness) {
		h.sandboxOptions.Quota = sandbox.Quota{Requests: requests, Interval: interval}
	}
}

// WithSandboxApps has the sandbox know other apps than the demo app.
func WithSandboxApps(apps ...sandbox.App) Option {
	return func(h *Harness) { h.sandboxOptions.Apps = apps }
}

// WithWrappedSandbox has something stand between Caddy and the sandbox.
func WithWrappedSandbox(wrap func(http.Handler) http.Handler) Option {
	return func(h *Harness) { h.wrapSandbox = wrap }
}

// Start starts a sandbox and a Caddy with a Caddyfile; see [Harness.Load].
func Start(t testing.TB, text string, options ...Option) *Harness {
	t.Helper()
	h := New(t, options...)
	if err := h.Load(text); err != nil {
		t.Fatalf("loading config: %v", err)
	}
	return h
}

// New starts the sandbox and leaves Caddy to [Harness.Load].
func New(t testing.TB, options ...Option) *Harness {
	t.Helper()
	h := &Harness{Web: sidecartest.Web{T: t}, Dir: t.TempDir(), Logs: new(Log), listen: "127.0.0.1:0"}
	h.ServerAddr = h.Addr
	var err error
	if h.socketDir, err = os.MkdirTemp("", "hubspot"); err != nil { //nolint:usetesting // a test's own directory may be too deep for a socket
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.socketDir) })
	for _, option := range options {
		option(h)
	}
	if h.Sandbox, err = sandbox.New(h.sandboxOptions); err != nil {
		t.Fatalf("making sandbox: %v", err)
	}
	var handler http.Handler = h.Sandbox
	if h.wrapSandbox != nil {
		handler = h.wrapSandbox(handler)
	}
	server := httptest.NewServer(handler)
	h.SandboxURL = server.URL
	t.Cleanup(server.Close)

	t.Setenv("HUBSPOT_CLIENT_ID", ClientID)
	t.Setenv("HUBSPOT_CLIENT_SECRET", ClientSecret)
	t.Setenv("CALLER_KEY", CallerKey)
	// Caddy's data directory, where the store's key is made.
	t.Setenv("XDG_DATA_HOME", filepath.Join(h.Dir, "data"))
	captured.Store(t.Name(), h.Logs)
	t.Cleanup(func() {
		h.Stop()
		captured.Delete(t.Name())
	})
	return h
}

// Stop stops Caddy and waits until the process has forgotten everything.
// Managers are closed in the background and let go of their store then; what
// stays for good was acquired and not released.
func (h *Harness) Stop() {
	h.T.Helper()
	if err := caddy.Stop(); err != nil {
		h.T.Errorf("stopping Caddy: %v", err)
	}
	h.WaitFor("the pool to be empty", func() bool { return len(Pooled()) == 0 })
}

// Pooled returns how many values of each kind are in the pool.
func Pooled() map[string]int {
	kinds := make(map[string]int)
	pool.Range(func(key pool.Key, _ any) bool {
		kinds[key.Kind()]++
		return true
	})
	return kinds
}

// References returns how many uses there are of pooled values of a kind.
func References(kind string) int {
	n := 0
	pool.Range(func(key pool.Key, _ any) bool {
		if key.Kind() == kind {
			n += pool.References(key)
		}
		return true
	})
	return n
}

// Sidecar returns the app module of the running config.
func (h *Harness) Sidecar() *sidecar.Sidecar {
	h.T.Helper()
	value, err := caddy.ActiveContext().AppIfConfigured("hubspot")
	if err != nil {
		h.T.Fatal(err)
	}
	return value.(*sidecar.Sidecar)
}

// App returns the HubSpot app of that name of the running config.
func (h *Harness) App(name string) *hubapp.App {
	h.T.Helper()
	app, ok := h.Sidecar().App(name)
	if !ok {
		h.T.Fatalf("there is no app %s", name)
	}
	return app
}

// Addr returns the address on which Caddy serves HTTP.
func (h *Harness) Addr() string {
	h.T.Helper()
	value, err := caddy.ActiveContext().App("http")
	if err != nil {
		h.T.Fatal(err)
	}
	for _, server := range value.(*caddyhttp.App).Servers {
		return server.Listeners()[0].Addr().String()
	}
	h.T.Fatal("the config has no HTTP server")
	return ""
}

// WriteFile writes a file into the test's directory and returns its path.
func (h *Harness) WriteFile(name, content string) string {
	h.T.Helper()
	path := filepath.Join(h.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.T.Fatal(err)
	}
	return path
}
