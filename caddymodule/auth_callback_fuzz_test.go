package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// FuzzCallbackQuery sends browsers back from HubSpot with all sorts of
// queries. None of them is one of ours, so whatever they say ends in a page
// that says no, before HubSpot or the store is asked.
func FuzzCallbackQuery(f *testing.F) {
	for _, query := range []string{
		"", "code=c&state=s", "code=c", "state=s", "code=c&state=s&state=t", "error=access_denied&error_description=%3Cscript%3E&state=s", "error=%00&state=%ff",
		"step=authorize&returnUrl=https://app.hubspot.com/x", "step=authorize&returnUrl=https://evil.example", "step=finalize&code=c&state=s&returnUrl=https://app.hubspot.com/",
		"code=%zz", ";code=c", "code=c&state=" + strings.Repeat("A", 4096), "&&&=&=&code", "code=c&state=AQ" + strings.Repeat("A", 200), "signed_in=1&step=authorize&returnUrl=https://app-eu1.hubspot.com",
	} {
		f.Add(query, "text/html", "hubspot-connect-0123456789abcdef=x", uint8(0))
	}
	f.Add("code=c&state=s", "application/json", `a="; b`, uint8(1))
	asked := new(atomic.Int64)
	hubspot := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	f.Cleanup(hubspot.Close)
	loadForFuzz(f, strings.ReplaceAll(hubspotCaddyfile("", `
	hubspot_auth {
		user      {http.request.header.X-Test-Session}
		return_to https://app.example.com/*
		rate      1000000 1s
	}`), "SANDBOX", hubspot.URL))
	server, before := serverOf(f), storeCalls(f)
	f.Fuzz(func(t *testing.T, query, accept, cookie string, kind uint8) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/hubspot/hbdev/callback", nil)
		r.URL.RawQuery = query
		r.RequestURI = "/hubspot/hbdev/callback?" + query
		r.Header = http.Header{"Accept": {accept}, "Cookie": {cookie}}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		checkRefusal(t, w, query)
		if asked.Load() != 0 || storeCalls(t) != before {
			t.Errorf("%q: HubSpot was asked %d times, the store %d times", query, asked.Load(), storeCalls(t)-before)
		}
	})
}

// loadForFuzz loads a Caddyfile that logs nothing.
func loadForFuzz(f *testing.F, text string) {
	f.Helper()
	dir := f.TempDir()
	f.Setenv("HUBSPOT_CLIENT_ID", testClientID)
	f.Setenv("HUBSPOT_CLIENT_SECRET", testClientSecret)
	f.Setenv("CALLER_KEY", testCallerKey)
	f.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	text = strings.Replace(text, "{\n", "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system "+dir+"/storage\n\tlog default {\n\t\tlevel ERROR\n\t}\n", 1)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		f.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = caddy.Stop() })
}

// checkRefusal: no, without a word of what was sent that a browser could run.
func checkRefusal(t *testing.T, w *httptest.ResponseRecorder, query string) {
	t.Helper()
	switch w.Code {
	case http.StatusBadRequest, http.StatusTooManyRequests, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
	default:
		t.Errorf("%q: %d", query, w.Code)
	}
	header := w.Header()
	if header.Get("Location") != "" || header.Get("Cache-Control") != "no-store" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%q: header %v", query, header)
	}
	values, _ := url.ParseQuery(query)
	for _, texts := range values {
		for _, text := range texts {
			if strings.ContainsAny(text, "<>") && len(text) > 3 && strings.Contains(w.Body.String(), text) && strings.HasPrefix(header.Get("Content-Type"), "text/html") {
				t.Errorf("%q is in the page as it is", text)
			}
		}
	}
}
