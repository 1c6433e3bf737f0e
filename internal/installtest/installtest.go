// Package installtest serves what hubspot_auth serves, without Caddy, for the
// tests of packages install and callerapi: both over a kit of package
// sidecartest. Tests with kits of their own can run in parallel.
package installtest

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

const (
	// SessionHeader stands for a browser's session: it holds its user.
	SessionHeader = "X-Test-Session"
	// ClientHeader is the address of the client; without it that is one and
	// the same for all.
	ClientHeader = "X-Test-Client"
	// LimitedKey is the key of [Limited].
	LimitedKey = "limited-caller-key-0123456789"
	// Teapot is the status of what is passed on.
	Teapot = http.StatusTeapot
)

// Config changes what a kit is made of.
type Config struct {
	sidecartest.Config
	// Install changes the settings of the install.
	Install func(*install.Config)
	// Browsers leaves out the endpoints for callers.
	Browsers bool
	// Rewrite changes requests before they are handled, as a server does.
	Rewrite func(*http.Request)
}

// Kit is a sidecar that serves installs and the endpoints for callers.
type Kit struct {
	*sidecartest.Kit
	// Store counts what it is asked, and can be broken.
	Store *Store
	// Handler is what is served.
	Handler http.Handler

	mu      sync.Mutex
	failed  []string
	skipped int
}

// Apps are hbdev, one that is public, and one without install links.
func Apps() []appconfig.Resolved {
	public, bare := sidecartest.App(), sidecartest.App()
	public.Name, public.RedirectURI = "hbprod", "https://app.example.com/hubspot/hbprod/callback"
	bare.Name, bare.RedirectURI, bare.Scopes = "nolinks", "", appconfig.Scopes{}
	return []appconfig.Resolved{sidecartest.App(), public, bare}
}

// Limited is a caller that may do little.
func Limited(t testing.TB) access.CallerConfig {
	return access.CallerConfig{
		Name: "limited", Keys: []secret.Text{secret.New(LimitedKey)},
		Apps: []string{"hbdev"}, Users: []string{"globex-*"}, Allow: sidecartest.Rules(t, "GET /crm/*"),
	}
}

// original is the key in the context of a request of its URL before it was
// rewritten.
type original struct{}

// New makes a kit of the apps [Apps] and serves it. Browsers have their session
// in SessionHeader, and may return to https://app.example.com/.
func New(t testing.TB, c Config) *Kit {
	t.Helper()
	if c.Apps == nil {
		c.Apps = Apps()
	}
	store := NewStore(t)
	c.Config.Store = store
	k := &Kit{Kit: sidecartest.New(t, c.Config), Store: store}
	k.Reload(c)
	return k
}

// Reload serves with another configuration of the install and nothing else
// changed, as a reload of the config does.
func (k *Kit) Reload(c Config) {
	k.T.Helper()
	k.Handler = k.handler(c)
	k.Serve(k.Handler)
}

func (k *Kit) handler(c Config) http.Handler {
	k.T.Helper()
	returnTo, err := install.ParseReturnList([]string{"https://app.example.com/*"})
	if err != nil {
		k.T.Fatal(err)
	}
	base, err := install.ParseBase("")
	if err != nil {
		k.T.Fatal(err)
	}
	config := install.Config{
		Desk: k.Desk, Apps: k.Apps, Base: base, User: userid.Source{Header: SessionHeader},
		ReturnTo: returnTo, Rate: appconfig.Rate{Count: 1000, Per: time.Second}, Logger: k.Logger,
		ClientIP: clientIP, OriginalURL: originalURL, SkipAccessLog: k.skip, Failed: k.fail,
	}
	if c.Install != nil {
		c.Install(&config)
	}
	installer, err := install.New(config)
	if err != nil {
		k.T.Fatal(err)
	}
	api := callerapi.New(callerapi.Config{
		Desk: k.Desk, Base: config.Base, ReturnTo: config.ReturnTo, Pages: installer, Audit: k.Audit, Logger: k.Logger,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.Rewrite != nil {
			r = rewritten(r, c.Rewrite)
		}
		if !installer.Handle(w, r) && (c.Browsers || !api.Handle(w, r)) {
			w.WriteHeader(Teapot)
		}
	})
}

func (k *Kit) skip(*http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.skipped++
}

// Skipped is how often a request was kept out of the access log.
func (k *Kit) Skipped() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.skipped
}

func (k *Kit) fail(app, reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = append(k.failed, app+" "+reason)
}

// Failed returns the installs that have failed since it was asked last, each
// as its app and the reason.
func (k *Kit) Failed() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := k.failed
	k.failed = nil
	return failed
}

// Begin starts an install in a browser of user and returns the link to HubSpot
// and the browser's cookies.
func (k *Kit) Begin(target, user string) (link, cookies string) {
	k.T.Helper()
	got := k.Do(http.MethodGet, target, nil, SessionHeader, user)
	if got.StatusCode != http.StatusFound {
		k.T.Fatalf("GET %s: %s: %s", target, got.Status, got.Text)
	}
	return got.Header.Get("Location"), Cookies(got)
}

// InstallLink asks for the link with which user connects to app, as the caller
// tester. query is added to the request's.
func (k *Kit) InstallLink(app, user, query string) string {
	k.T.Helper()
	got := k.Get("/hubspot/auth/"+app+"?userForeignIdentifier="+url.QueryEscape(user)+query, "")
	if got.StatusCode != http.StatusOK {
		k.T.Fatalf("asking for an install link: %s: %s", got.Status, got.Text)
	}
	var link struct {
		URL string `json:"url"`
	}
	got.JSON(k.T, &link)
	return link.URL
}

// Connect connects user of the app hbdev to a portal of the sandbox.
func (k *Kit) Connect(user string, hubID int64) {
	k.T.Helper()
	got := k.Do(http.MethodGet, k.Approve(k.InstallLink("hbdev", user, ""), hubID), nil, "Accept", "application/json")
	if got.StatusCode != http.StatusOK {
		k.T.Fatalf("coming back from the install: %s: %s", got.Status, got.Text)
	}
}

// As makes a request with a caller's key.
func (k *Kit) As(key, method, target string) sidecartest.Answer {
	k.T.Helper()
	return k.Do(method, target, nil, "Authorization", "Bearer "+key)
}

// Sealed makes a state as the app itself would, for the user acme.
func (k *Kit) Sealed(app string, change func(*oauthstate.State)) string {
	k.T.Helper()
	sealer, err := k.App(app).StateSealer(k.T.Context())
	if err != nil {
		k.T.Fatal(err)
	}
	st := oauthstate.State{User: "acme", Verifier: hubspot.NewVerifier(), Nonce: rand.Text(), IssuedAt: time.Now()}
	change(&st)
	text, err := sealer.Seal(st)
	if err != nil {
		k.T.Fatal(err)
	}
	return text
}

// TokenCalls is how often the sandbox's token endpoint was asked.
func (k *Kit) TokenCalls() (n int64) {
	k.T.Helper()
	for endpoint, statuses := range k.Stats().Endpoints {
		if strings.HasSuffix(endpoint, "/token") {
			for _, count := range statuses {
				n += count
			}
		}
	}
	return n
}

// Stats are what the sandbox was asked.
func (k *Kit) Stats() (stats sandbox.Stats) {
	k.T.Helper()
	k.Do(http.MethodGet, k.SandboxURL+"/_sandbox/stats", nil).JSON(k.T, &stats)
	return stats
}

// Freeze freezes calls.
func (k *Kit) Freeze(s freeze.Selector) {
	k.T.Helper()
	if err := k.Freezes.Freeze(k.T.Context(), freeze.Freeze{Selector: s}); err != nil {
		k.T.Fatal(err)
	}
}

// UnfreezeAll lifts all freezes.
func (k *Kit) UnfreezeAll() {
	k.T.Helper()
	if err := k.Freezes.UnfreezeAll(k.T.Context()); err != nil {
		k.T.Fatal(err)
	}
}

// LogLines returns the lines of the log with a message.
func (k *Kit) LogLines(message string) []string {
	lines := slices.Collect(strings.Lines(k.Logs.String()))
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, `"msg":"`+message+`"`) })
}

// CheckLines checks that the log has n lines with a message, few of them at the
// usual level, although they were caused by somebody without a key since begun.
func (k *Kit) CheckLines(message string, n int, begun time.Time) {
	k.T.Helper()
	const perSecond, burst = 10, 100
	lines := k.LogLines(message)
	info := 0
	for _, line := range lines {
		if strings.Contains(line, `"level":"info"`) {
			info++
		}
	}
	if most := burst + perSecond*(int(time.Since(begun).Seconds())+1); len(lines) != n || info > most {
		k.T.Errorf("%d lines, %d of them at level info; want %d and at most %d", len(lines), info, n, most)
	}
}

// Cookies returns the cookies of an answer as a Cookie header.
func Cookies(a sidecartest.Answer) string {
	var pairs []string
	for _, c := range a.Cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// CheckBrowserAnswer checks what every answer to a browser must have.
func CheckBrowserAnswer(t testing.TB, a sidecartest.Answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := a.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "script") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy %q permits scripts", policy)
	}
}

func clientIP(r *http.Request) netip.Addr {
	address, err := netip.ParseAddr(r.Header.Get(ClientHeader))
	if err != nil {
		return netip.MustParseAddr("127.0.0.1")
	}
	return address
}

func originalURL(r *http.Request) *url.URL {
	if u, ok := r.Context().Value(original{}).(*url.URL); ok {
		return u
	}
	return r.URL
}

func rewritten(r *http.Request, rewrite func(*http.Request)) *http.Request {
	before := *r.URL
	r = r.WithContext(context.WithValue(r.Context(), original{}, &before))
	changed := *r.URL
	r.URL = &changed
	rewrite(r)
	return r
}
