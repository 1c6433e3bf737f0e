package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestPrefersJSON(t *testing.T) {
	tests := map[string]struct {
		accept []string
		want   bool
	}{
		"none":              {nil, false},
		"curl":              {[]string{"*/*"}, false},
		"browser":           {[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, false},
		"JSON":              {[]string{"application/json"}, true},
		"axios":             {[]string{"application/json, text/plain, */*"}, true},
		"JSON in capitals":  {[]string{"Application/JSON"}, true},
		"both, HTML first":  {[]string{"text/html, application/json"}, false},
		"both, JSON first":  {[]string{"application/json, text/html"}, false},
		"JSON weighs more":  {[]string{"text/html;q=0.5, application/json;q=0.9"}, true},
		"JSON weighs less":  {[]string{"application/json;q=0.5, text/html"}, false},
		"HTML excluded":     {[]string{"*/*, text/html;q=0"}, true},
		"JSON excluded":     {[]string{"application/json;q=0"}, false},
		"JSON and excluded": {[]string{"application/json;q=0, */*;q=0.1"}, false},
		"several lines":     {[]string{"text/html;q=0.1", "application/json"}, true},
		"any application":   {[]string{"application/*"}, true},
		"parameters":        {[]string{"application/json;charset=utf-8;q=1"}, true},
		"nonsense weight":   {[]string{"application/json;q=NaN, text/html;q=0.1"}, false},
		"nonsense":          {[]string{";;,,q=1"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Accept"] = tt.accept
			if got := prefersJSON(r); got != tt.want {
				t.Errorf("prefersJSON(%q) = %v", tt.accept, got)
			}
		})
	}
}

func TestClientLimiter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := newClientLimiter(3, time.Minute)
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 3 {
		if wait := l.take(one, now); wait != 0 {
			t.Fatalf("request %d has to wait %v", i+1, wait)
		}
	}
	if wait := l.take(one, now); wait != 20*time.Second {
		t.Errorf("the fourth request has to wait %v, want 20s", wait)
	}
	if wait := l.take(two, now); wait != 0 {
		t.Errorf("another client has to wait %v", wait)
	}
	if wait := l.take(one, now.Add(19*time.Second)); wait.Round(time.Millisecond) != time.Second {
		t.Errorf("after 19s the wait is %v, want 1s: refused requests must not count", wait)
	}
	if wait := l.take(one, now.Add(20*time.Second)); wait != 0 {
		t.Errorf("after 20s the wait is %v", wait)
	}
}

func TestClientLimiterIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := newClientLimiter(1, time.Minute)
	address := netip.MustParseAddr("10.0.0.0")
	for range 2 * maxLimited {
		l.take(address, now)
		address = address.Next()
	}
	if len(l.clients) > maxLimited || l.recent.Len() != len(l.clients) {
		t.Errorf("remembers %d clients in a list of %d, want at most %d", len(l.clients), l.recent.Len(), maxLimited)
	}
	if wait := l.take(address.Prev(), now); wait == 0 {
		t.Error("the client seen last was forgotten")
	}
	later := now.Add(time.Minute)
	for range 2 * maxLimited {
		l.take(address, later)
		address = address.Next()
		later = later.Add(time.Minute)
	}
	if len(l.clients) > 2 {
		t.Errorf("remembers %d clients that have been idle for long", len(l.clients))
	}
}

func TestClientAddress(t *testing.T) {
	tests := map[string]string{
		"192.0.2.7":                 "192.0.2.7",
		"::ffff:192.0.2.7":          "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":      "2001:db8:1:2::",
		"2001:db8:1:2:ffff::1":      "2001:db8:1:2::",
		"2001:db8:1:3::1":           "2001:db8:1:3::",
		"fe80::1%eth0":              "fe80::",
		"@":                         "invalid IP",
		"":                          "invalid IP",
		"192.0.2.7, 198.51.100.200": "invalid IP",
	}
	for text, want := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		vars := map[string]any{caddyhttp.ClientIPVarKey: text}
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
		if got := clientAddress(r).String(); got != want {
			t.Errorf("clientAddress(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	tests := map[time.Duration]string{
		time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	}
	for wait, want := range tests {
		if got := retryAfterSeconds(wait); got != want {
			t.Errorf("retryAfterSeconds(%v) = %s, want %s", wait, got, want)
		}
	}
}

func TestBasePathFind(t *testing.T) {
	long := "/hubspot/connections/hbdev/a%2Fb%20c%40d.example%25"
	tests := map[string]struct {
		base, path string
		want       authPath
	}{
		"link":                      {"/hubspot", "/hubspot/auth/hbdev", authPath{endpointLink, "hbdev", ""}},
		"link in another case":      {"/hubspot", "/hubspot/auth/HbDev", authPath{endpointLink, "HbDev", ""}},
		"connect":                   {"/hubspot", "/hubspot/hbdev/connect", authPath{endpointConnect, "hbdev", ""}},
		"list":                      {"/hubspot", "/hubspot/connections/hbdev", authPath{endpointList, "hbdev", ""}},
		"one":                       {"/hubspot", "/hubspot/connections/hbdev/acme", authPath{endpointConnection, "hbdev", "acme"}},
		"user with slashes":         {"/hubspot", long, authPath{endpointConnection, "hbdev", "a/b c@d.example%"}},
		"user of dots":              {"/hubspot", "/hubspot/connections/hbdev/%2E%2E", authPath{endpointConnection, "hbdev", ".."}},
		"user not encoded":          {"/hubspot", "/hubspot/connections/hbdev/a/b", authPath{endpointConnection, "hbdev", ""}},
		"no user":                   {"/hubspot", "/hubspot/connections/hbdev/", authPath{endpointConnection, "hbdev", ""}},
		"tokens":                    {"/hubspot", "/hubspot/tokens/HbDev", authPath{endpointTokens, "HbDev", ""}},
		"tokens of more":            {"/hubspot", "/hubspot/tokens/hbdev/x", authPath{}},
		"root":                      {"/", "/auth/hbdev", authPath{endpointLink, "hbdev", ""}},
		"deep":                      {"/a/b", "/a/b/hbdev/connect", authPath{endpointConnect, "hbdev", ""}},
		"encoded letters":           {"/hubspot", "/h%75bspot/%61uth/hbdev", authPath{endpointLink, "hbdev", ""}},
		"base only":                 {"/hubspot", "/hubspot", authPath{}},
		"base with a slash":         {"/hubspot", "/hubspot/", authPath{}},
		"app only":                  {"/hubspot", "/hubspot/hbdev", authPath{}},
		"other verb":                {"/hubspot", "/hubspot/hbdev/disconnect", authPath{}},
		"other base":                {"/hubspot", "/hubspots/auth/hbdev", authPath{}},
		"base with a slash encoded": {"/a/b", "/a%2Fb/auth/hbdev", authPath{}},
		"more":                      {"/hubspot", "/hubspot/auth/hbdev/x", authPath{}},
		"front page":                {"/", "/", authPath{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			base, err := parseBasePath(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.ParseRequestURI(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := base.find(u); got != tt.want {
				t.Errorf("find(%q) = %+v, want %+v", tt.path, got, tt.want)
			}
		})
	}
}

func TestBasePathRefused(t *testing.T) {
	for _, text := range []string{"hubspot", "/hubspot/", "//x", "/a/../b", "/a//b", "/a*", "/{env.X}", "/a%2Fb", "/a b", "/a?b", `/a\b`} {
		if _, err := parseBasePath(text); err == nil || !strings.Contains(err.Error(), "base_path") {
			t.Errorf("parseBasePath(%q) = %v", text, err)
		}
	}
	if base, err := parseBasePath(""); err != nil || base.text != defaultBasePath {
		t.Errorf("the default is %q, %v", base.text, err)
	}
}

func TestFlowCookie(t *testing.T) {
	value, hash := newBrowserBinding()
	name := flowCookieName(true, "the-state")
	c := newFlowCookie(true, name, value)
	want := regexp.MustCompile(`^__Host-hubspot-connect-[0-9a-f]{16}=[A-Z2-7]{26}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$`)
	if !want.MatchString(c.String()) {
		t.Errorf("cookie is %q", c)
	}
	plain := newFlowCookie(false, flowCookieName(false, "the-state"), value)
	if strings.Contains(plain.String(), "Secure") || strings.HasPrefix(plain.Name, "__Host-") {
		t.Errorf("cookie for http://localhost is %q", plain)
	}
	if cleared := newFlowCookie(true, name, "").String(); !strings.Contains(cleared, "Max-Age=0") || !strings.Contains(cleared, "Secure") {
		t.Errorf("clearing cookie is %q", cleared)
	}
	if flowCookieName(true, "other-state") == name {
		t.Error("two installs share a cookie")
	}

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if holdsBinding(r, name, hash) {
		t.Error("a browser without the cookie is taken")
	}
	r.AddCookie(&http.Cookie{Name: name, Value: "another"})
	if holdsBinding(r, name, hash) {
		t.Error("another value is taken")
	}
	r.AddCookie(c)
	if !holdsBinding(r, name, hash) {
		t.Error("the cookie is not taken beside one of the same name")
	}
	if holdsBinding(r, flowCookieName(true, "other-state"), hash) {
		t.Error("the cookie of another install is taken")
	}
}

func TestSurplusCookies(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: "x"})
	for i := range maxFlows + 1 {
		r.AddCookie(&http.Cookie{Name: hostCookiePrefix + strconv.Itoa(i), Value: "x"})
	}
	cleared := surplusCookies(r, true)
	if len(cleared) != 2 || cleared[0].Name != hostCookiePrefix+"0" || cleared[1].Name != hostCookiePrefix+"1" || cleared[0].MaxAge >= 0 {
		t.Errorf("cleared %v, want the two oldest", cleared)
	}
	if other := surplusCookies(r, false); len(other) != 0 {
		t.Errorf("cleared %v of another kind", other)
	}
}

func TestPage(t *testing.T) {
	body, err := page{
		Good: true, Title: "<Title>", Text: []string{"a & b"}, Quote: `"><script>alert(1)</script>`,
		App: "hbdev", HubID: 1234567, Missing: []string{"crm.<b>"}, Reference: "ref",
		Link: &pageLink{URL: "javascript:alert(1)", Text: "Go"},
	}.render()
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, want := range []string{"&lt;Title&gt;", "a &amp; b", "<dd>1234567</dd>", "crm.&lt;b&gt;", `lang="en"`, "<h1>"} {
		if !strings.Contains(text, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, bad := range []string{"<script", "javascript:alert", "http://", "https://", " style=", " onclick"} {
		if strings.Contains(text, bad) {
			t.Errorf("page has %q", bad)
		}
	}
	style := text[strings.Index(text, "<style>")+len("<style>") : strings.Index(text, "</style>")]
	sum := sha256.Sum256([]byte(style))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(contentPolicy, hash) {
		t.Errorf("the policy %q does not permit the style of the page, %s", contentPolicy, hash)
	}
}

func TestQuotable(t *testing.T) {
	tests := map[string]string{
		"plain text":                     "plain text",
		" two\r\nlines\tand  spaces ":    "two lines and spaces",
		"turned \u202eround\u202c":       "turned round",
		"zero\u200bwidth \x00\x1b[31m":   "zerowidth [31m",
		"broken \xff\xfe bytes":          "broken bytes",
		strings.Repeat("ä", maxQuote):    strings.Repeat("ä", maxQuote),
		strings.Repeat("ä", maxQuote+10): strings.Repeat("ä", maxQuote) + "…",
	}
	for text, want := range tests {
		if got := quotable(text); got != want {
			t.Errorf("quotable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWithState(t *testing.T) {
	tests := map[string]string{
		"https://app.hubspot.com/x":                      "https://app.hubspot.com/x?state=S",
		"https://app.hubspot.com/x?a=b%20c&d":            "https://app.hubspot.com/x?a=b%20c&d&state=S",
		"https://app.hubspot.com/x?state=evil&a=b":       "https://app.hubspot.com/x?a=b&state=S",
		"https://app.hubspot.com/x?st%61te=evil&state=2": "https://app.hubspot.com/x?state=S",
		"https://app.hubspot.com/x?a=b#f":                "https://app.hubspot.com/x?a=b&state=S#f",
	}
	for raw, want := range tests {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := withState(u, "S"); got != want {
			t.Errorf("withState(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestHubSpotURL(t *testing.T) {
	app := &hubApp{name: "hbdev"}
	app.endpoints.Authorize = "http://localhost:4000/oauth/authorize"
	a := new(Auth)
	good := []string{
		"https://app.hubspot.com/x?y=z", "https://app-eu1.hubspot.com/", "https://APP-NA2.hubspot.com/",
		"https://app.hubspot.com:443/", "http://localhost:4000/back",
	}
	bad := []string{
		"", "http://app.hubspot.com/", "https://app.hubspot.com.evil.example/", "https://app-eu1.hubspot.com@evil.example/",
		"https://evil.hubspot.com/", "https://app-eu1.evil.hubspot.com/", "https://appx.hubspot.com/", "https://app-.hubspot.com/",
		"https://app.hubspot.com:8443/", "https://xapp.hubspot.com/", `https://app.hubspot.com\@evil.example`,
		"http://localhost:4001/", "https://localhost:4000/", "//app.hubspot.com/", "https://evil.example/?https://app.hubspot.com/",
	}
	for _, raw := range slices.Concat(good, bad) {
		_, ok := a.hubspotURL(app, raw)
		if ok != slices.Contains(good, raw) {
			t.Errorf("hubspotURL(%q) = %v", raw, ok)
		}
	}
}
