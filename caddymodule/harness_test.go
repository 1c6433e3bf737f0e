package caddymodule

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// What the harness puts into the environment, for the placeholders of a
// Caddyfile.
const (
	testClientID     = sandbox.DemoClientID
	testClientSecret = sandbox.DemoClientSecret
	testCallerKey    = "test-caller-key-0123456789"
	// testRedirectURI is where HubSpot sends users: the harness's clients
	// take http://localhost for the Caddy under test, whatever its port.
	testRedirectURI = "http://localhost/hubspot/hbdev/callback"
	// testBase is the address of the Caddy under test for those clients.
	testBase = "http://localhost"
)

// harness is a whole Caddy in this process with a sandbox HubSpot beside it.
// Caddy's config is global to the process, so its tests cannot be parallel.
type harness struct {
	t *testing.T
	// Sandbox is HubSpot, served at SandboxURL.
	Sandbox    *sandbox.Sandbox
	SandboxURL string
	// Dir is a directory of this test: Dir/storage is Caddy's storage.
	Dir string
	// Logs is everything that Caddy has logged, at debug level.
	Logs *lockedBuffer

	sandboxOptions sandbox.Options
	sandboxServer  *httptest.Server
	admin          bool
	autosave       bool
	// listen is where Caddy serves HTTP.
	listen string
	// socketDir has a short path: that of a unix socket must be.
	socketDir string
}

// harnessOption changes a harness before Caddy starts.
type harnessOption func(h *harness)

// withAdmin starts Caddy's admin API, on a unix socket; see [harness.Admin].
func withAdmin() harnessOption {
	return func(h *harness) { h.admin = true }
}

// withAutosave has Caddy save its config, to Dir/autosave.json.
func withAutosave() harnessOption {
	return func(h *harness) {
		before := caddy.ConfigAutosavePath
		h.t.Cleanup(func() { caddy.ConfigAutosavePath = before })
		h.autosave, caddy.ConfigAutosavePath = true, filepath.Join(h.Dir, "autosave.json")
	}
}

// withSocket has Caddy serve HTTP on a unix socket, which everybody may open;
// see [harness.socket].
func withSocket() harnessOption {
	return func(h *harness) { h.listen = "unix/" + h.socket() + "|0666" }
}

// withSandboxQuota has the sandbox grant another quota than HubSpot's.
func withSandboxQuota(requests int, interval time.Duration) harnessOption {
	return func(h *harness) {
		h.sandboxOptions.Quota = sandbox.Quota{Requests: requests, Interval: interval}
	}
}

// startCaddy starts a sandbox and a Caddy with the given Caddyfile, in which
// SANDBOX stands for the sandbox's address and DIR for the test's directory.
// Sites must have the address http://localhost:0. See [hubspotCaddyfile].
func startCaddy(t *testing.T, text string, options ...harnessOption) *harness {
	t.Helper()
	h := newHarness(t, options...)
	if err := h.Load(text); err != nil {
		t.Fatalf("loading config: %v", err)
	}
	return h
}

// newHarness starts the sandbox and leaves Caddy to [harness.Load].
func newHarness(t *testing.T, options ...harnessOption) *harness {
	t.Helper()
	h := &harness{t: t, Dir: t.TempDir(), Logs: new(lockedBuffer), listen: "127.0.0.1:0"}
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
	h.sandboxServer = httptest.NewServer(h.Sandbox)
	h.SandboxURL = h.sandboxServer.URL
	t.Cleanup(h.sandboxServer.Close)

	t.Setenv("HUBSPOT_CLIENT_ID", testClientID)
	t.Setenv("HUBSPOT_CLIENT_SECRET", testClientSecret)
	t.Setenv("CALLER_KEY", testCallerKey)
	// Caddy's data directory, where the store's key is made.
	t.Setenv("XDG_DATA_HOME", filepath.Join(h.Dir, "data"))
	captured.Store(t.Name(), h.Logs)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
		// Managers are closed in the background and let go of their store
		// then; what stays for good was acquired and not released.
		h.WaitFor("the pool to be empty", func() bool { return len(pooled()) == 0 })
		captured.Delete(t.Name())
	})
	return h
}

// hubspotCaddyfile returns a Caddyfile with the app hbdev and the caller
// tester, more settings for the hubspot option, and the content of the site.
func hubspotCaddyfile(global, site string) string {
	return `{
	hubspot {
		app hbdev {
			client_id       {env.HUBSPOT_CLIENT_ID}
			client_secret   {env.HUBSPOT_CLIENT_SECRET}
			scopes          oauth crm.objects.contacts.read
			optional_scopes crm.objects.contacts.write crm.objects.companies.read
			redirect_uri    ` + testRedirectURI + `
		}
		caller tester {
			key {env.CALLER_KEY}
		}
		endpoints {
			api       SANDBOX
			authorize SANDBOX/oauth/authorize
		}
		` + global + `
	}
}
http://localhost:0 {
	` + site + `
}
`
}

// Adapt turns a Caddyfile into the JSON config that the harness loads.
func (h *harness) Adapt(text string) ([]byte, error) {
	text = strings.NewReplacer("SANDBOX", h.SandboxURL, "DIR", h.Dir).Replace(text)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(adapted, &config); err != nil {
		return nil, err
	}
	h.isolate(config)
	return json.Marshal(config)
}

// isolate keeps a config away from everything outside the test.
func (h *harness) isolate(config map[string]any) {
	admin := map[string]any{"disabled": true, "config": map[string]any{"persist": h.autosave}}
	if h.admin {
		admin["disabled"] = false
		admin["listen"] = "unix/" + h.adminSocket()
	}
	config["admin"] = admin
	if config["storage"] == nil {
		config["storage"] = map[string]any{"module": "file_system", "root": filepath.Join(h.Dir, "storage")}
	}
	logs := child(child(config, "logging"), "logs")
	log := child(logs, "default")
	log["writer"] = map[string]any{"output": "hubspot_test", "test": h.t.Name()}
	log["level"] = "DEBUG"
	if log["encoder"] == nil {
		log["encoder"] = map[string]any{"format": "json"}
	}
	servers := child(child(child(config, "apps"), "http"), "servers")
	for _, server := range servers {
		server := server.(map[string]any)
		server["listen"] = []string{h.listen}
		server["automatic_https"] = map[string]any{"disable": true}
	}
}

func child(parent map[string]any, name string) map[string]any {
	if value, ok := parent[name].(map[string]any); ok {
		return value
	}
	value := make(map[string]any)
	parent[name] = value
	return value
}

// Load loads a Caddyfile, as a reload if Caddy is running.
func (h *harness) Load(text string) error {
	config, err := h.Adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

// App returns the app module of the running config.
func (h *harness) App() *App {
	h.t.Helper()
	value, err := caddy.ActiveContext().AppIfConfigured("hubspot")
	if err != nil {
		h.t.Fatal(err)
	}
	return value.(*App)
}

// Addr returns the address on which Caddy serves HTTP.
func (h *harness) Addr() string {
	h.t.Helper()
	value, err := caddy.ActiveContext().App("http")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, server := range value.(*caddyhttp.App).Servers {
		return server.Listeners()[0].Addr().String()
	}
	h.t.Fatal("the config has no HTTP server")
	return ""
}

// Transport returns a transport for which http://localhost is the Caddy under
// test. It is not shared and keeps no connections.
func (h *harness) Transport() *http.Transport {
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
func (h *harness) Client() *http.Client {
	return &http.Client{
		Transport:     h.Transport(),
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Browser returns a client that follows redirects and keeps cookies.
func (h *harness) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &http.Client{Transport: h.Transport(), Timeout: 30 * time.Second, Jar: jar}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	Text string
}

// JSON decodes the body into v.
func (a answer) JSON(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Text), v); err != nil {
		t.Fatalf("decoding %q: %v", a.Text, err)
	}
}

// Do makes a request of the Caddy under test, with header given as pairs of
// name and value, and reads the answer. target is a path or a whole URL.
func (h *harness) Do(method, target string, body io.Reader, header ...string) answer {
	h.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = testBase + target
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, target, body)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if http.CanonicalHeaderKey(header[i]) == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	return h.read(h.Client().Do(req))
}

// Get is [harness.Do] with the caller's key and, unless it is empty, a user.
func (h *harness) Get(target, user string) answer {
	h.t.Helper()
	header := []string{"Authorization", "Bearer " + testCallerKey}
	if user != "" {
		header = append(header, "X-HubSpot-User", user)
	}
	return h.Do(http.MethodGet, target, nil, header...)
}

func (h *harness) read(resp *http.Response, err error) answer {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("reading the answer: %v", err)
	}
	return answer{resp, string(body)}
}

// InstallLink asks hubspot_auth for the link with which user connects to app.
func (h *harness) InstallLink(app, user string) string {
	h.t.Helper()
	got := h.Get("/hubspot/auth/"+app+"?userForeignIdentifier="+url.QueryEscape(user), "")
	if got.StatusCode != http.StatusOK {
		h.t.Fatalf("asking for an install link: %s: %s", got.Status, got.Text)
	}
	var link struct {
		URL string `json:"url"`
	}
	got.JSON(h.t, &link)
	return link.URL
}

// Approve follows an install link to the sandbox, consents there for a portal
// at once, and returns where the sandbox sends the browser: the callback.
func (h *harness) Approve(link string, hubID int64) string {
	h.t.Helper()
	got := h.Do(http.MethodGet, link+"&_sandbox_approve="+strconv.FormatInt(hubID, 10), nil)
	if got.StatusCode != http.StatusFound {
		h.t.Fatalf("approving the install: %s: %s", got.Status, got.Text)
	}
	return got.Header.Get("Location")
}

// Connect connects user of the app hbdev to a portal of the sandbox. The site
// must have hubspot_auth.
func (h *harness) Connect(user string, hubID int64) {
	h.t.Helper()
	callback := h.Approve(h.InstallLink("hbdev", user), hubID)
	got := h.Do(http.MethodGet, callback, nil, "Accept", "application/json")
	if got.StatusCode != http.StatusOK {
		h.t.Fatalf("coming back from the install: %s: %s", got.Status, got.Text)
	}
}

// Fault tells the sandbox to misbehave; see its /_sandbox/faults.
func (h *harness) Fault(faults string) {
	h.t.Helper()
	got := h.Do(http.MethodPost, h.SandboxURL+"/_sandbox/faults", strings.NewReader(faults), "Content-Type", "application/json")
	if got.StatusCode != http.StatusOK {
		h.t.Fatalf("setting faults: %s: %s", got.Status, got.Text)
	}
}

// WaitFor waits until condition holds.
func (h *harness) WaitFor(what string, condition func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waiting for %s: it has not happened", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// pooled returns how many values of each kind are in the pool.
func pooled() map[string]int {
	kinds := make(map[string]int)
	pool.Range(func(key, _ any) bool {
		kinds[key.(poolKey).kind]++
		return true
	})
	return kinds
}

// socket is where [withSocket] has Caddy serve HTTP.
func (h *harness) socket() string { return filepath.Join(h.socketDir, "http.sock") }

func (h *harness) adminSocket() string { return filepath.Join(h.socketDir, "admin.sock") }

// adminClient is a client of the admin API, which [withAdmin] starts, for
// whatever host.
func (h *harness) adminClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.adminSocket())
		},
	}}
}

// Admin makes a request of the admin API.
func (h *harness) Admin(method, path string) answer {
	h.t.Helper()
	return h.adminBody(method, path, "", "")
}

// adminBody is Admin with a body.
func (h *harness) adminBody(method, path, body, contentType string) answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return h.read(h.adminClient().Do(req))
}

// WriteFile writes a file into the test's directory and returns its path.
func (h *harness) WriteFile(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// lockedBuffer is the log of a test, as a writer of Caddy's.
type lockedBuffer struct{ logtest.Buffer }

// Close does nothing: a reload closes the log of the old config.
func (b *lockedBuffer) Close() error { return nil }

// captured has the log buffer of each running test by the test's name.
var captured sync.Map

func init() {
	caddy.RegisterModule(capturedLog{})
}

// capturedLog is a log writer module that fills the buffer of a test.
type capturedLog struct {
	Test string `json:"test"`
}

func (capturedLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.writers.hubspot_test",
		New: func() caddy.Module { return new(capturedLog) },
	}
}

func (l *capturedLog) String() string { return "hubspot_test/" + l.Test }

func (l *capturedLog) WriterKey() string { return "hubspot_test:" + l.Test }

func (l *capturedLog) OpenWriter() (io.WriteCloser, error) {
	buffer, ok := captured.Load(l.Test)
	if !ok {
		return &lockedBuffer{}, nil
	}
	return buffer.(*lockedBuffer), nil
}

// queryOf returns one parameter of a URL.
func queryOf(t *testing.T, rawURL, name string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get(name)
}
