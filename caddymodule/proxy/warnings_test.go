package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

// warnedOf returns a field of the one warning that begins with text, or "".
func warnedOf(t *testing.T, h *caddytest.Harness, text, field string) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(h.Logs.String()) {
		if _, message, ok := strings.Cut(line, `"msg":"`); ok && strings.HasPrefix(message, text) {
			_, value, _ := strings.Cut(strings.TrimSpace(line), `"`+field+`":`)
			found = append(found, strings.TrimSuffix(value, "}"))
		}
	}
	if len(found) > 1 {
		t.Errorf("warned %d times", len(found))
	}
	return strings.Join(found, "")
}

// A site that is for programs on this machine is reached by whatever name they
// use for it, or its operator is told.
func TestSitesNotReachedByAllNames(t *testing.T) {
	const (
		proxy  = " {\n hubspot_proxy hbdev\n}\n"
		nested = " {\n handle_path /a/* {\n route {\n hubspot_proxy hbdev\n}\n}\n}\n"
		other  = " {\n respond 404\n}\n"
		both   = "http://localhost:0, http://127.0.0.1:0"
	)
	for name, tc := range map[string]struct{ sites, want string }{
		"localhost alone":       {"http://localhost:0" + proxy, `["127.0.0.1"]`},
		"deep in the site":      {"http://localhost:0" + nested, `["127.0.0.1"]`},
		"127.0.0.1 alone":       {"http://127.0.0.1:0" + proxy, `["localhost"]`},
		"another name":          {"http://sidecar:0" + proxy, `["localhost","127.0.0.1"]`},
		"both":                  {both + proxy, ""},
		"both, and a catch-all": {both + proxy + "http://:0" + other, ""},
		"every name":            {"http://:0" + proxy, ""},
		"both by another site":  {both + other + "http://sidecar:0" + proxy, `["localhost","127.0.0.1"]`},
		"both before another":   {both + proxy + "http://sidecar:0" + other, ""},
	} {
		t.Run(name, func(t *testing.T) {
			settings, _, _ := strings.Cut(caddytest.Caddyfile("", ""), "http://localhost:0")
			h := caddytest.Start(t, settings+tc.sites)
			if got := warnedOf(t, h, "the site is not reached", "not_reached_as"); got != tc.want {
				t.Errorf("warned of %q, want %q", got, tc.want)
			}
		})
	}
}

// On a unix socket any name is as good as another, unless it is one of the
// machine's.
func TestSitesOfSockets(t *testing.T) {
	for site, want := range map[string]string{"http://sidecar:0": "", "http://localhost:0": `["127.0.0.1"]`} {
		t.Run(site, func(t *testing.T) {
			text := strings.Replace(caddytest.Caddyfile("", "hubspot_proxy hbdev"), "http://localhost:0", site, 1)
			h := caddytest.Start(t, text, caddytest.WithSocket())
			if got := warnedOf(t, h, "the site is not reached", "not_reached_as"); got != want {
				t.Errorf("warned of %q, want %q", got, want)
			}
		})
	}
}

// withHeaderSize has the server of a Caddyfile take request heads of a size.
func withHeaderSize(caddyfile, size string) string {
	return strings.Replace(caddyfile, "{\n", "{\n\tservers {\n\t\tmax_header_size "+size+"\n\t}\n", 1)
}

// A server that takes less of a request than HubSpot does is warned of.
func TestServersThatTakeShortHeads(t *testing.T) {
	text := caddytest.Caddyfile("", "hubspot_proxy hbdev")
	for name, tc := range map[string]struct{ text, want string }{
		"Caddy's own": {text, "16384"},
		"a little":    {withHeaderSize(text, "32KiB"), "32768"},
		"enough":      {withHeaderSize(text, "64KiB"), ""},
		"more":        {withHeaderSize(text, "1MiB"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := caddytest.Start(t, tc.text)
			if got := warnedOf(t, h, "the server takes less", "max_header_bytes"); got != tc.want {
				t.Errorf("warned of %q, want %q", got, tc.want)
			}
		})
	}
}

// With room for them, the longest URLs that HubSpot takes come through beside a
// large header, and its own 414 beyond them comes back.
func TestLongURLs(t *testing.T) {
	const longest = 16200
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.RequestURI) > longest {
			w.WriteHeader(http.StatusRequestURITooLong)
			fmt.Fprint(w, "of HubSpot's edge")
			return
		}
		fmt.Fprint(w, len(r.RequestURI))
	}))
	t.Cleanup(upstream.Close)
	text := caddytest.WithAPI(caddytest.Caddyfile("", "hubspot_proxy hbdev"), upstream.URL)
	h := caddytest.Start(t, withHeaderSize(text, "64KiB"))
	h.ConnectAs("acme", caddytest.AccessToken)
	for size, want := range map[int]struct {
		status int
		text   string
	}{
		longest:     {http.StatusOK, "16200"},
		longest + 1: {http.StatusRequestURITooLong, "of HubSpot's edge"},
		60000:       {http.StatusRequestURITooLong, "of HubSpot's edge"},
	} {
		const path = "/crm/x?after="
		header := []string{"Authorization", "Bearer " + caddytest.CallerKey, "X-HubSpot-User", "acme"}
		if size <= longest+1 {
			header = append(header, "X-Large", strings.Repeat("h", 16<<10))
		}
		got := h.Do(http.MethodGet, path+strings.Repeat("a", size-len(path)), nil, header...)
		if got.StatusCode != want.status || got.Text != want.text {
			t.Errorf("a URL of %d: %s %.100s", size, got.Status, got.Text)
		}
	}
}
