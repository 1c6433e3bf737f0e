package caddymodule

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestAuthPassesOn(t *testing.T) {
	h := startAuth(t)
	for _, path := range []string{
		"/", "/hubspot", "/hubspot/", "/hubspot/hbdev", "/hubspot/auth", "/hubspot/hbdev/other", "/hubspot/unknown/connect",
		"/hubspot/hbdev/callback/more", "/hubspot/hbdev", "/other?code=c&state=s",
	} {
		if got := h.Do(http.MethodGet, path, nil); got.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
}

// A HEAD or a POST redeems no code and starts no install.
func TestAuthMethods(t *testing.T) {
	h := startAuth(t)
	callback := h.Approve(h.InstallLink("hbdev", "acme"), sandbox.DemoHubID)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		for _, target := range []string{callback, "/hubspot/hbdev/connect"} {
			got := h.Do(method, target, nil, "X-Test-Session", "acme")
			if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET" || got.Header.Get("Location") != "" {
				t.Errorf("%s %.20s: %s, Allow %q", method, target, got.Status, got.Header.Get("Allow"))
			}
		}
		got := h.Do(method, "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil, "Authorization", "Bearer "+testCallerKey)
		if want := http.StatusMethodNotAllowed; method != http.MethodHead && (got.StatusCode != want || got.Header.Get("Allow") != "GET, HEAD") {
			t.Errorf("%s of the link: %s, Allow %q", method, got.Status, got.Header.Get("Allow"))
		}
	}
	if n := tokenCalls(t, h); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
	if got := h.Do(http.MethodGet, callback, nil); got.StatusCode != http.StatusOK {
		t.Errorf("the GET after them: %s: %s", got.Status, got.Text)
	}
}

func TestAuthRefusesOddRequests(t *testing.T) {
	h := startAuth(t)
	long := strings.Repeat("x", maxAuthQuery)
	key := "Bearer " + testCallerKey
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
			for _, path := range []string{"/hubspot/hbdev/callback", "/hubspot/hbdev/connect", "/hubspot/connections/hbdev"} {
				got := h.Do(http.MethodGet, path+tt.query, tt.body(), "X-Large", tt.header, "Authorization", key)
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

func TestHasBody(t *testing.T) {
	tests := map[string]struct {
		major  int
		length int64
		body   string
		want   bool
	}{
		"HTTP/1 without":          {1, 0, "", false},
		"HTTP/1 with":             {1, 1, "x", true},
		"HTTP/1 chunked":          {1, -1, "x", true},
		"HTTP/3 without a length": {3, -1, "", false},
		"HTTP/3 with":             {3, -1, "x", true},
		"HTTP/2 without a length": {2, -1, "", false},
		"HTTP/2 with":             {2, 1, "x", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(tt.body))
			r.ProtoMajor, r.ContentLength = tt.major, tt.length
			if got := hasBody(httptest.NewRecorder(), r); got != tt.want {
				t.Errorf("hasBody() = %v", got)
			}
		})
	}
}

func TestAuthRateLimit(t *testing.T) {
	text := strings.Replace(hubspotCaddyfile("", `
	hubspot_auth {
		user {http.request.header.X-Test-Session}
		rate 2 1h
	}`), "{\n\thubspot", "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n\thubspot", 1)
	h := startCaddy(t, text)
	from := func(address, accept string) answer {
		return h.Do(http.MethodGet, "/hubspot/hbdev/callback?code=c&state=s", nil, "X-Forwarded-For", address, "Accept", accept)
	}
	for range 2 {
		if got := from("198.51.100.1", "*/*"); got.StatusCode != http.StatusBadRequest {
			t.Fatalf("within the limit: %s", got.Status)
		}
	}
	got := from("198.51.100.1", "*/*")
	checkBrowserAnswer(t, got)
	if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != http.StatusTooManyRequests || err != nil || wait < 1700 || wait > 1800 {
		t.Errorf("beyond the limit: %s, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
	}
	if got := from("198.51.100.1", "application/json"); !strings.Contains(got.Text, `"subCategory":"rate_limited"`) || got.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit as JSON: %s: %s", got.Status, got.Text)
	}
	connect := h.Do(http.MethodGet, "/hubspot/hbdev/connect", nil, "X-Forwarded-For", "198.51.100.1", "X-Test-Session", "acme")
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
	if got := h.Get("/hubspot/connections/hbdev", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the endpoints for callers are limited: %s", got.Status)
	}
}

func TestAuthSignIn(t *testing.T) {
	const site = `
	hubspot_auth {
		user    {http.request.header.X-Test-Session}
		sign_in https://app.example.com/login?from=crm
		return_to https://app.example.com/*
	}`
	h := startCaddy(t, hubspotCaddyfile(authApps, site))
	got := h.Do(http.MethodGet, "/hubspot/hbdev/connect?return_to=https://app.example.com/a%3Fb", nil, "Host", "evil.example")
	if got.StatusCode == http.StatusFound {
		t.Fatalf("a site of another name answers: %q", got.Header.Get("Location"))
	}
	got = h.Do(http.MethodGet, "/hubspot/hbdev/connect?return_to=https://app.example.com/a%3Fb", nil)
	location := got.Header.Get("Location")
	back := queryOf(t, location, "return_to")
	if got.StatusCode != http.StatusFound || !strings.HasPrefix(location, "https://app.example.com/login?from=crm&return_to=") ||
		back != "http://localhost/hubspot/hbdev/connect?return_to=https://app.example.com/a%3Fb&signed_in=1" {
		t.Fatalf("without a session: %s to %q", got.Status, location)
	}
	if len(got.Cookies()) != 0 {
		t.Errorf("a cookie before the install: %v", got.Header["Set-Cookie"])
	}

	again := h.Do(http.MethodGet, back, nil)
	if again.StatusCode != http.StatusBadRequest || again.Header.Get("Location") != "" || !strings.Contains(again.Text, "came back from signing in") {
		t.Errorf("back without a session: %s to %q", again.Status, again.Header.Get("Location"))
	}
	in := h.Do(http.MethodGet, back, nil, "X-Test-Session", "acme")
	if in.StatusCode != http.StatusFound || !strings.HasPrefix(in.Header.Get("Location"), h.SandboxURL) {
		t.Errorf("back with a session: %s to %q", in.Status, in.Header.Get("Location"))
	}

	// The public app's own origin is what the browser comes back to.
	got = h.Do(http.MethodGet, "/hubspot/hbprod/connect", nil)
	if back := queryOf(t, got.Header.Get("Location"), "return_to"); back != "https://app.example.com/hubspot/hbprod/connect?signed_in=1" {
		t.Errorf("comes back to %q", back)
	}
}

func TestAuthConnectRefusals(t *testing.T) {
	h := startAuth(t)
	tests := map[string]struct{ target, user, want string }{
		"no session":          {"/hubspot/hbdev/connect", "", "sign in first"},
		"user too long":       {"/hubspot/hbdev/connect", strings.Repeat("x", maxUser+1), "cannot be connected"},
		"user not UTF-8":      {"/hubspot/hbdev/connect", "a\xffb", "cannot be connected"},
		"foreign return_to":   {"/hubspot/hbdev/connect?return_to=https://evil.example/", "acme", "not on the allow-list"},
		"two return_to":       {"/hubspot/hbdev/connect?return_to=https://app.example.com/&return_to=x", "acme", "damaged"},
		"backslash return_to": {"/hubspot/hbdev/connect?return_to=" + url.QueryEscape(`https://app.example.com\@evil.example/`), "acme", "backslash"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := h.Do(http.MethodGet, tt.target, nil, "X-Test-Session", tt.user)
			if got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" || !strings.Contains(got.Text, tt.want) {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
			checkBrowserAnswer(t, got)
		})
	}
	got := h.Do(http.MethodGet, "/hubspot/nolinks/connect", nil, "X-Test-Session", "acme")
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("an app without redirect_uri: %s: %s", got.Status, got.Text)
	}
	if err := h.Load(hubspotCaddyfile("", "hubspot_auth")); err != nil {
		t.Fatal(err)
	}
	got = h.Do(http.MethodGet, "/hubspot/hbdev/connect", nil)
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.Text, "not enabled") {
		t.Errorf("without the setting user: %s: %s", got.Status, got.Text)
	}
}

// Under handle_path the handler sees another path than the browser.
func TestAuthUnderHandlePath(t *testing.T) {
	const apps = `
	app inner {
		client_id     {env.HUBSPOT_CLIENT_ID}
		client_secret {env.HUBSPOT_CLIENT_SECRET}
		scopes        oauth crm.objects.contacts.read
		redirect_uri  http://localhost/api/hubspot/inner/callback
	}`
	const site = `
	handle_path /api/* {
		hubspot_auth {
			user    {http.request.header.X-Test-Session}
			sign_in https://app.example.com/login
		}
	}`
	h := startCaddy(t, hubspotCaddyfile(apps, site))
	link, cookies := begin(t, h, "/api/hubspot/inner/connect", "acme")
	callback := h.Approve(link, sandbox.DemoHubID)
	if got := h.Do(http.MethodGet, callback, nil); !strings.Contains(got.Text, `href="/api/hubspot/inner/connect"`) {
		t.Errorf("another browser is not shown the way: %s", got.Text)
	}
	if got := h.Do(http.MethodGet, callback, nil, "Cookie", cookies); got.StatusCode != http.StatusOK {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	got := h.Do(http.MethodGet, "/api/hubspot/inner/connect", nil)
	if back := queryOf(t, got.Header.Get("Location"), "return_to"); back != "http://localhost/api/hubspot/inner/connect?signed_in=1" {
		t.Errorf("comes back to %q", back)
	}
}

// A browser that begins many installs keeps a few cookies.
func TestAuthManyInstalls(t *testing.T) {
	h := startAuth(t)
	browser := h.Browser()
	browser.CheckRedirect = h.Client().CheckRedirect
	for range 3 * maxFlows {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, testBase+"/hubspot/hbdev/connect", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Test-Session", "acme")
		h.read(browser.Do(req))
	}
	u, err := url.Parse(testBase)
	if err != nil {
		t.Fatal(err)
	}
	kept := browser.Jar.Cookies(u)
	if len(kept) != maxFlows || slices.ContainsFunc(kept, func(c *http.Cookie) bool { return !strings.HasPrefix(c.Name, flowCookiePrefix) }) {
		t.Errorf("the browser keeps %d cookies", len(kept))
	}
}
