package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// limitedKey is the key of a caller that may do little.
const limitedKey = "limited-caller-key-0123456789"

func limitedCaller() string {
	return authApps + `
	caller limited {
		key   ` + hashOf(limitedKey) + `
		apps  hbdev
		users globex-*
		allow GET /crm/*
	}`
}

// problem is an error of the sidecar's own.
type problem struct {
	Status, Category, SubCategory, Message, CorrelationID string
	Context                                               map[string][]string
	Links                                                 map[string]string
}

func TestAuthAPIRefusals(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile(limitedCaller(), authSite))
	const link = "/hubspot/auth/hbdev?userForeignIdentifier="
	tests := map[string]struct {
		target, key string
		status      int
		sub, text   string
	}{
		"no key":                  {link + "acme", "", 401, "caller_unauthenticated", "No caller key"},
		"unknown key":             {link + "acme", "some-other-key-0123456789", 401, "caller_unauthenticated", "not known"},
		"no user":                 {"/hubspot/auth/hbdev", testCallerKey, 400, "user_required", "userForeignIdentifier"},
		"empty user":              {link, testCallerKey, 400, "user_required", "userForeignIdentifier"},
		"two users":               {link + "a&userForeignIdentifier=b", testCallerKey, 400, "bad_request", "twice"},
		"user not UTF-8":          {link + "%ff", testCallerKey, 400, "bad_request", "UTF-8"},
		"user too long":           {link + strings.Repeat("x", maxUser+1), testCallerKey, 400, "bad_request", "longer"},
		"control character":       {link + "a%00b", testCallerKey, 400, "bad_request", "control"},
		"unknown app":             {"/hubspot/auth/other?userForeignIdentifier=acme", testCallerKey, 404, "bad_request", "no app"},
		"app without links":       {"/hubspot/auth/nolinks?userForeignIdentifier=acme", testCallerKey, 404, "bad_request", "redirect_uri"},
		"another's app":           {"/hubspot/auth/hbprod?userForeignIdentifier=globex-1", limitedKey, 403, "caller_forbidden", "app"},
		"another's unknown app":   {"/hubspot/auth/other?userForeignIdentifier=globex-1", limitedKey, 403, "caller_forbidden", "app"},
		"another's user":          {link + "acme", limitedKey, 403, "caller_forbidden", "user"},
		"foreign return_to":       {link + "acme&return_to=https://evil.example/", testCallerKey, 400, "bad_request", "allow-list"},
		"relative return_to":      {link + "acme&return_to=/x", testCallerKey, 400, "bad_request", "whole address"},
		"portal change misspelt":  {link + "acme&allow_portal_change=yes", testCallerKey, 400, "bad_request", "true or false"},
		"too much for a link":     {link + strings.Repeat("x", 1000) + "&return_to=https://app.example.com/" + strings.Repeat("y", 2000), testCallerKey, 400, "bad_request", "too long"},
		"list: no key":            {"/hubspot/connections/hbdev", "", 401, "caller_unauthenticated", "No caller key"},
		"list: another's app":     {"/hubspot/connections/hbprod", limitedKey, 403, "caller_forbidden", "app"},
		"list: limit 0":           {"/hubspot/connections/hbdev?limit=0", testCallerKey, 400, "bad_request", "from 1 to 100"},
		"list: limit 101":         {"/hubspot/connections/hbdev?limit=101", testCallerKey, 400, "bad_request", "from 1 to 100"},
		"list: limit not number":  {"/hubspot/connections/hbdev?limit=ten", testCallerKey, 400, "bad_request", "limit"},
		"list: limit empty":       {"/hubspot/connections/hbdev?limit=", testCallerKey, 400, "bad_request", "limit"},
		"list: odd cursor":        {"/hubspot/connections/hbdev?after=%0a", testCallerKey, 400, "bad_request", "after"},
		"list: foreign cursor":    {"/hubspot/connections/hbdev?after=nonsense", testCallerKey, 400, "bad_request", "after"},
		"list: cursor too long":   {"/hubspot/connections/hbdev?after=" + strings.Repeat("x", 2000), testCallerKey, 400, "bad_request", "after"},
		"one: no key":             {"/hubspot/connections/hbdev/acme", "", 401, "caller_unauthenticated", "No caller key"},
		"one: another's user":     {"/hubspot/connections/hbdev/acme", limitedKey, 403, "caller_forbidden", "user"},
		"one: no user":            {"/hubspot/connections/hbdev/", testCallerKey, 400, "user_required", "percent-encoded"},
		"one: user not encoded":   {"/hubspot/connections/hbdev/a/b", testCallerKey, 400, "user_required", "percent-encoded"},
		"one: not connected":      {"/hubspot/connections/hbdev/acme", testCallerKey, 404, "not_connected", "not connected"},
		"one: unknown app":        {"/hubspot/connections/other/acme", testCallerKey, 404, "bad_request", "no app"},
		"one: user not connected": {"/hubspot/connections/hbdev/globex-1", limitedKey, 404, "not_connected", "not connected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var header []string
			if tt.key != "" {
				header = []string{"Authorization", "Bearer " + tt.key}
			}
			got := h.Do(http.MethodGet, tt.target, nil, header...)
			var p problem
			got.JSON(t, &p)
			if got.StatusCode != tt.status || p.SubCategory != tt.sub || !strings.Contains(p.Message, tt.text) || p.Category != "SIDECAR" {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
			if got.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.Header.Get("Proxy-Status"), "caddy-hubspot; error=") {
				t.Errorf("Cache-Control %q, Proxy-Status %q", got.Header.Get("Cache-Control"), got.Header.Get("Proxy-Status"))
			}
			if !strings.Contains(h.Logs.String(), p.CorrelationID) {
				t.Error("the correlation id is not in the log")
			}
		})
	}
}

func TestAuthWithoutCallers(t *testing.T) {
	text := strings.Replace(hubspotCaddyfile("", authSite), "caller tester {\n\t\t\tkey {env.CALLER_KEY}\n\t\t}", "", 1)
	h := startCaddy(t, text)
	for _, target := range []string{
		"/hubspot/auth/hbdev?userForeignIdentifier=acme", "/hubspot/connections/hbdev", "/hubspot/connections/hbdev/acme",
	} {
		got := h.Get(target, "")
		if got.StatusCode != http.StatusForbidden || !strings.Contains(got.Text, "No caller is configured") {
			t.Errorf("%s: %s: %s", target, got.Status, got.Text)
		}
	}
	link, cookies := begin(t, h, "/hubspot/hbdev/connect", "acme")
	if got := h.Do(http.MethodGet, h.Approve(link, sandbox.DemoHubID), nil, "Cookie", cookies); got.StatusCode != http.StatusOK {
		t.Errorf("a browser's install: %s: %s", got.Status, got.Text)
	}
}

func TestAuthNotConnectedOffersLink(t *testing.T) {
	h := startAuth(t)
	var p problem
	h.Get("/hubspot/connections/hbdev/acme", "").JSON(t, &p)
	link := p.Links["connect"]
	if got := h.Do(http.MethodGet, h.Approve(link, sandbox.DemoHubID), nil); got.StatusCode != http.StatusOK {
		t.Errorf("by the link of the error: %s: %s", got.Status, got.Text)
	}
	if got := h.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", got.Status, got.Text)
	}
}

func TestAuthList(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile(limitedCaller(), authSite))
	want := []string{"acme", "globex-1", "globex-2", "globex-3", "umbrella"}
	for _, user := range want {
		h.Connect(user, sandbox.DemoHubID)
	}
	walk := func(key, query string) (users []string, pages int) {
		after := ""
		for {
			got := h.Do(http.MethodGet, "/hubspot/connections/HBDEV?"+query+after, nil, "Authorization", "Bearer "+key)
			if got.StatusCode != http.StatusOK {
				t.Fatalf("page %d: %s: %s", pages, got.Status, got.Text)
			}
			var page connectionPage
			got.JSON(t, &page)
			pages++
			for _, c := range page.Results {
				users = append(users, c.User)
			}
			if page.Paging == nil {
				slices.Sort(users)
				return users, pages
			}
			after = "&after=" + url.QueryEscape(page.Paging.Next.After)
		}
	}
	if users, pages := walk(testCallerKey, ""); !slices.Equal(users, want) || pages != 1 {
		t.Errorf("all at once: %v in %d pages", users, pages)
	}
	if users, pages := walk(testCallerKey, "limit=2"); !slices.Equal(users, want) || pages < 3 {
		t.Errorf("two at a time: %v in %d pages", users, pages)
	}
	if users, _ := walk(limitedKey, "limit=1"); !slices.Equal(users, want[1:4]) {
		t.Errorf("the limited caller sees %v", users)
	}
	empty := h.Get("/hubspot/connections/hbprod", "")
	if empty.Text != `{"results":[]}`+"\n" {
		t.Errorf("an empty list is %q", empty.Text)
	}
	if list := h.Get("/hubspot/connections/hbdev", "").Text; strings.Contains(strings.ToLower(list), "token") {
		t.Errorf("a list has tokens: %s", list)
	}
}

func TestAuthDelete(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile(limitedCaller(), authSite))
	for _, user := range []string{"acme", "a/b%2F ü", ".."} {
		path := "/hubspot/connections/hbdev/" + strings.ReplaceAll(url.PathEscape(user), ".", "%2E")
		h.Connect(user, sandbox.DemoHubID)
		if got := h.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+limitedKey); got.StatusCode != http.StatusForbidden {
			t.Errorf("%q: by another caller: %s", user, got.Status)
		}
		var shown connectionView
		if h.Get(path, "").JSON(t, &shown); shown.User != user {
			t.Errorf("the connection of %q is that of %q", user, shown.User)
		}
		got := h.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+testCallerKey)
		if got.StatusCode != http.StatusNoContent || got.Text != "" {
			t.Errorf("%q: %s: %s", user, got.Status, got.Text)
		}
		if got := h.Get(path, ""); got.StatusCode != http.StatusNotFound {
			t.Errorf("%q: afterwards: %s", user, got.Status)
		}
		again := h.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+testCallerKey)
		if again.StatusCode != http.StatusNotFound || !strings.Contains(again.Text, "not_connected") {
			t.Errorf("%q: again: %s: %s", user, again.Status, again.Text)
		}
	}
	var stats sandbox.Stats
	h.Do(http.MethodGet, h.SandboxURL+"/_sandbox/stats", nil).JSON(t, &stats)
	if n := fmt.Sprint(stats.Endpoints); !strings.Contains(n, "/revoke:map[200:3]") {
		t.Errorf("the grants were not revoked: %s", n)
	}
}

func TestAuthDeleteWithoutHubSpot(t *testing.T) {
	h := startAuth(t)
	h.Connect("acme", sandbox.DemoHubID)
	h.sandboxServer.Close()
	got := h.Do(http.MethodDelete, "/hubspot/connections/hbdev/acme", nil, "Authorization", "Bearer "+testCallerKey)
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "not confirmed") {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	if got := h.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the connection is gone: %s", got.Status)
	}
}

// What HubSpot or the store do wrong at the end of an install has a page.
func TestAuthExchangeFailures(t *testing.T) {
	h := startAuth(t)
	fault := func(text string) func() {
		return func() {
			got := h.Do(http.MethodPost, h.SandboxURL+"/_sandbox/faults", strings.NewReader(text), "Content-Type", "application/json")
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s: %s", text, got.Status, got.Text)
			}
		}
	}
	tests := map[string]struct {
		prepare func()
		query   string
		status  int
		sub     string
		page    string
	}{
		"unknown code":    {func() {}, "code=na1-none", 400, "bad_request", "no longer accepts"},
		"invalid client":  {fault(`{"token":{"answer":"invalid_client","times":2}}`), "", 503, "app_misconfigured", "not set up"},
		"server error":    {fault(`{"token":{"answer":"server_error","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"HTML error":      {fault(`{"token":{"answer":"gateway_error","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"rate limited":    {fault(`{"token":{"answer":"rate_limited","retry_after":7,"times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"broken JSON":     {fault(`{"token":{"answer":"broken_json","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
		"connection lost": {fault(`{"token":{"drop":"before","times":2}}`), "", 502, "upstream_unreachable", "cannot be reached"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			defer h.Do(http.MethodDelete, h.SandboxURL+"/_sandbox/faults", nil)
			for _, accept := range []string{"text/html", "application/json"} {
				callback := h.Approve(h.InstallLink("hbdev", "acme"), sandbox.DemoHubID)
				if tt.query != "" {
					callback = testRedirectURI + "?" + tt.query + "&state=" + queryOf(t, callback, "state")
				}
				if accept == "text/html" {
					tt.prepare()
				}
				got := h.Do(http.MethodGet, callback, nil, "Accept", accept)
				want := tt.page
				if accept == "application/json" {
					want = `"subCategory":"` + tt.sub + `"`
				}
				if got.StatusCode != tt.status || !strings.Contains(got.Text, want) || got.Header.Get("Location") != "" {
					t.Errorf("%s: %s: %s", accept, got.Status, got.Text)
				}
				if name == "rate limited" && got.Header.Get("Retry-After") != "7" {
					t.Errorf("%s: Retry-After is %q", accept, got.Header.Get("Retry-After"))
				}
				checkBrowserAnswer(t, got)
			}
		})
	}
	if got := h.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusNotFound {
		t.Errorf("there is a connection: %s", got.Text)
	}
}

func TestAuthStoreFailure(t *testing.T) {
	h := startAuth(t)
	callback := h.Approve(h.InstallLink("hbdev", "acme"), sandbox.DemoHubID)
	// A file where the directory should be cannot be read as one.
	root := filepath.Join(h.Dir, "storage")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	h.WriteFile("storage", "")
	got := h.Do(http.MethodGet, callback, nil)
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "cannot be stored") {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	if n := tokenCalls(t, h); n != 0 {
		t.Errorf("HubSpot was asked %d times though the store does not answer", n)
	}
	if got := h.Get("/hubspot/connections/hbdev", ""); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store_unavailable") {
		t.Errorf("list: %s: %s", got.Status, got.Text)
	}
}
