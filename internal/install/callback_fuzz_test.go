package install_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
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
	k := installtest.New(f, installtest.Config{Install: func(c *install.Config) {
		c.Rate = appconfig.Rate{Count: 1_000_000, Per: time.Second}
		// A fuzzer would fill the memory with them.
		c.Logger = slog.New(slog.DiscardHandler)
	}})
	f.Fuzz(func(t *testing.T, query, accept, cookie string, _ uint8) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/hubspot/hbdev/callback", nil)
		r.URL.RawQuery = query
		r.RequestURI = "/hubspot/hbdev/callback?" + query
		r.Header = http.Header{"Accept": {accept}, "Cookie": {cookie}}
		w := httptest.NewRecorder()
		k.Handler.ServeHTTP(w, r)
		checkRefusal(t, w, query)
		if k.Store.Calls() != 0 || len(k.Sandbox.Stats().Endpoints) != 0 {
			t.Errorf("%q: HubSpot was asked %v, the store %d times", query, k.Sandbox.Stats().Endpoints, k.Store.Calls())
		}
		if failed := k.Failed(); len(failed) != 0 {
			t.Errorf("%q: somebody was told of %q", query, failed)
		}
	})
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
