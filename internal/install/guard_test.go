package install_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

func TestAuthPassesOn(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	for _, path := range []string{
		"/", "/hubspot", "/hubspot/", "/hubspot/hbdev", "/hubspot/auth", "/hubspot/hbdev/other", "/hubspot/unknown/connect",
		"/hubspot/hbdev/callback/more", "/hubspot/hbdev", "/other?code=c&state=s",
	} {
		if got := k.Do(http.MethodGet, path, nil); got.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
}

// A HEAD or a POST redeems no code and starts no install.
func TestAuthMethods(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		for _, target := range []string{callback, "/hubspot/hbdev/connect"} {
			got := k.Do(method, target, nil, installtest.SessionHeader, "acme")
			if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET" || got.Header.Get("Location") != "" {
				t.Errorf("%s %.20s: %s, Allow %q", method, target, got.Status, got.Header.Get("Allow"))
			}
		}
		got := k.Do(method, "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil, "Authorization", "Bearer "+sidecartest.CallerKey)
		if want := http.StatusMethodNotAllowed; method != http.MethodHead && (got.StatusCode != want || got.Header.Get("Allow") != "GET, HEAD") {
			t.Errorf("%s of the link: %s, Allow %q", method, got.Status, got.Header.Get("Allow"))
		}
	}
	if n := k.TokenCalls(); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
	if got := k.Do(http.MethodGet, callback, nil); got.StatusCode != http.StatusOK {
		t.Errorf("the GET after them: %s: %s", got.Status, got.Text)
	}
}

func TestAuthRefusesOddRequests(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	long := strings.Repeat("x", install.MaxQuery)
	key := "Bearer " + sidecartest.CallerKey
	none := func() io.Reader { return nil }
	tests := map[string]struct {
		body   func() io.Reader
		query  string
		header string
		want   int
	}{
		"body":            {func() io.Reader { return strings.NewReader("x") }, "", "", http.StatusRequestEntityTooLarge},
		"unknown length":  {func() io.Reader { return io.MultiReader(strings.NewReader("x")) }, "", "", http.StatusRequestEntityTooLarge},
		"long query":      {none, "?x=" + long, "", http.StatusRequestURITooLong},
		"large header":    {none, "", strings.Repeat(long, 5), http.StatusRequestHeaderFieldsTooLarge},
		"just small ones": {none, "?x=y", "x", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/hubspot/hbdev/callback", "/hubspot/hbdev/connect", "/hubspot/connections/hbdev"} {
				got := k.Do(http.MethodGet, path+tt.query, tt.body(), "X-Large", tt.header, "Authorization", key)
				if tt.want != 0 && got.StatusCode != tt.want {
					t.Errorf("%s: %s, want %d", path, got.Status, tt.want)
				}
				if tt.want == 0 && got.StatusCode > http.StatusBadRequest {
					t.Errorf("%s: %s", path, got.Status)
				}
			}
		})
	}
}

func TestAuthRateLimit(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Install: func(c *install.Config) { c.Rate = appconfig.Rate{Count: 2, Per: time.Hour} }})
	from := func(address, accept string) sidecartest.Answer {
		return k.Do(http.MethodGet, "/hubspot/hbdev/callback?code=c&state=s", nil, installtest.ClientHeader, address, "Accept", accept)
	}
	for range 2 {
		if got := from("198.51.100.1", "*/*"); got.StatusCode != http.StatusBadRequest {
			t.Fatalf("within the limit: %s", got.Status)
		}
	}
	got := from("198.51.100.1", "*/*")
	installtest.CheckBrowserAnswer(t, got)
	if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != http.StatusTooManyRequests || err != nil || wait < 1700 || wait > 1800 {
		t.Errorf("beyond the limit: %s, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
	}
	if got := from("198.51.100.1", "application/json"); !strings.Contains(got.Text, `"subCategory":"rate_limited"`) || got.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit as JSON: %s: %s", got.Status, got.Text)
	}
	connect := k.Do(http.MethodGet, "/hubspot/hbdev/connect", nil, installtest.ClientHeader, "198.51.100.1", installtest.SessionHeader, "acme")
	if connect.StatusCode != http.StatusTooManyRequests {
		t.Errorf("connect beyond the limit: %s", connect.Status)
	}
	if got := from("198.51.100.2", "*/*"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("another client: %s", got.Status)
	}
	for i := range 3 {
		got := from("2001:db8::"+strconv.Itoa(i+1), "*/*")
		if limited := got.StatusCode == http.StatusTooManyRequests; limited != (i == 2) {
			t.Errorf("request %d of an IPv6 network: %s", i+1, got.Status)
		}
	}
	if got := k.Get("/hubspot/connections/hbdev", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the endpoints for callers are limited: %s", got.Status)
	}
}

func TestAuthSignIn(t *testing.T) {
	t.Parallel()
	signIn, err := install.ParseSignIn("https://app.example.com/login?from=crm")
	if err != nil {
		t.Fatal(err)
	}
	k := installtest.New(t, installtest.Config{Install: func(c *install.Config) { c.SignIn = signIn }})
	// Whatever the Host is, it is not where the browser is to come back to.
	got := k.Do(http.MethodGet, "/hubspot/hbdev/connect", nil, "Host", "evil.example")
	if back := sidecartest.QueryOf(t, got.Header.Get("Location"), "return_to"); back != "http://localhost/hubspot/hbdev/connect?signed_in=1" {
		t.Fatalf("by the way of another host it comes back to %q", back)
	}
	got = k.Do(http.MethodGet, "/hubspot/hbdev/connect?return_to=https://app.example.com/a%3Fb", nil)
	location := got.Header.Get("Location")
	back := sidecartest.QueryOf(t, location, "return_to")
	if got.StatusCode != http.StatusFound || !strings.HasPrefix(location, "https://app.example.com/login?from=crm&return_to=") ||
		back != "http://localhost/hubspot/hbdev/connect?return_to=https://app.example.com/a%3Fb&signed_in=1" {
		t.Fatalf("without a session: %s to %q", got.Status, location)
	}
	if len(got.Cookies()) != 0 {
		t.Errorf("a cookie before the install: %v", got.Header["Set-Cookie"])
	}

	again := k.Do(http.MethodGet, back, nil)
	if again.StatusCode != http.StatusBadRequest || again.Header.Get("Location") != "" || !strings.Contains(again.Text, "came back from signing in") {
		t.Errorf("back without a session: %s to %q", again.Status, again.Header.Get("Location"))
	}
	in := k.Do(http.MethodGet, back, nil, installtest.SessionHeader, "acme")
	if in.StatusCode != http.StatusFound || !strings.HasPrefix(in.Header.Get("Location"), k.SandboxURL) {
		t.Errorf("back with a session: %s to %q", in.Status, in.Header.Get("Location"))
	}

	// The public app's own origin is what the browser comes back to.
	got = k.Do(http.MethodGet, "/hubspot/hbprod/connect", nil)
	if back := sidecartest.QueryOf(t, got.Header.Get("Location"), "return_to"); back != "https://app.example.com/hubspot/hbprod/connect?signed_in=1" {
		t.Errorf("comes back to %q", back)
	}
}

func TestAuthConnectRefusals(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	tests := map[string]struct{ target, user, want string }{
		"no session":          {"/hubspot/hbdev/connect", "", "sign in first"},
		"user too long":       {"/hubspot/hbdev/connect", strings.Repeat("x", userid.MaxLength+1), "cannot be connected"},
		"user not UTF-8":      {"/hubspot/hbdev/connect", "a\xffb", "cannot be connected"},
		"other scopes":        {"/hubspot/hbdev/connect?scopes=crm.export", "acme", "damaged"},
		"two scopes":          {"/hubspot/hbdev/connect?scopes=granted&scopes=granted", "acme", "damaged"},
		"foreign return_to":   {"/hubspot/hbdev/connect?return_to=https://evil.example/", "acme", "not on the allow-list"},
		"two return_to":       {"/hubspot/hbdev/connect?return_to=https://app.example.com/&return_to=x", "acme", "damaged"},
		"backslash return_to": {"/hubspot/hbdev/connect?return_to=" + url.QueryEscape(`https://app.example.com\@evil.example/`), "acme", "backslash"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := k.Do(http.MethodGet, tt.target, nil, installtest.SessionHeader, tt.user)
			if got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" || !strings.Contains(got.Text, tt.want) {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
			installtest.CheckBrowserAnswer(t, got)
		})
	}
	got := k.Do(http.MethodGet, "/hubspot/nolinks/connect", nil, installtest.SessionHeader, "acme")
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("an app without redirect_uri: %s: %s", got.Status, got.Text)
	}
	k.Reload(installtest.Config{Install: func(c *install.Config) { c.User = userid.Source{} }})
	got = k.Do(http.MethodGet, "/hubspot/hbdev/connect", nil)
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.Text, "not enabled") {
		t.Errorf("without the setting user: %s: %s", got.Status, got.Text)
	}
}

// Under handle_path the handler sees another path than the browser.
func TestAuthUnderHandlePath(t *testing.T) {
	t.Parallel()
	app := sidecartest.App()
	app.Name, app.RedirectURI = "inner", "http://localhost/api/hubspot/inner/callback"
	signIn, err := install.ParseSignIn("https://app.example.com/login")
	if err != nil {
		t.Fatal(err)
	}
	k := installtest.New(t, installtest.Config{
		Config:  sidecartest.Config{Apps: []appconfig.Resolved{app}},
		Install: func(c *install.Config) { c.SignIn = signIn },
		Rewrite: func(r *http.Request) { r.URL.Path = strings.TrimPrefix(r.URL.Path, "/api") },
	})
	link, cookies := k.Begin("/api/hubspot/inner/connect", "acme")
	callback := k.Approve(link, sandbox.DemoHubID)
	if got := k.Do(http.MethodGet, callback, nil); !strings.Contains(got.Text, `href="/api/hubspot/inner/connect"`) {
		t.Errorf("another browser is not shown the way: %s", got.Text)
	}
	if got := k.Do(http.MethodGet, callback, nil, "Cookie", cookies); got.StatusCode != http.StatusOK {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	got := k.Do(http.MethodGet, "/api/hubspot/inner/connect", nil)
	if back := sidecartest.QueryOf(t, got.Header.Get("Location"), "return_to"); back != "http://localhost/api/hubspot/inner/connect?signed_in=1" {
		t.Errorf("comes back to %q", back)
	}
}

// A browser that begins many installs keeps a few cookies.
func TestAuthManyInstalls(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	browser := k.Browser()
	browser.CheckRedirect = k.Client().CheckRedirect
	for range 3 * install.MaxFlows {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sidecartest.Base+"/hubspot/hbdev/connect", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(installtest.SessionHeader, "acme")
		k.Read(browser.Do(req))
	}
	u, err := url.Parse(sidecartest.Base)
	if err != nil {
		t.Fatal(err)
	}
	kept := browser.Jar.Cookies(u)
	if len(kept) != install.MaxFlows || slices.ContainsFunc(kept, func(c *http.Cookie) bool { return !strings.HasPrefix(c.Name, install.FlowCookiePrefix) }) {
		t.Errorf("the browser keeps %d cookies", len(kept))
	}
}
