package health_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

func TestGoldenCaddyfiles(t *testing.T) { caddytest.Golden(t, "testdata") }

// site is a Caddyfile whose site has an access log and the directive.
func site(global, directive string) string {
	return caddytest.Caddyfile(global, "log\n"+directive+"\nhubspot_proxy hbdev")
}

func TestProbes(t *testing.T) {
	h := caddytest.Start(t, site("store caddy {\n key_file DIR/store.key\n }", "hubspot_health"))
	for _, tt := range []struct {
		method, path string
		status       int
		text         string
	}{
		{http.MethodGet, "/livez", http.StatusOK, `{"status":"ok"}`},
		{http.MethodGet, "/readyz?verbose", http.StatusOK, `{"ready":true}`},
		{http.MethodHead, "/readyz", http.StatusOK, ""},
		{http.MethodPost, "/readyz", http.StatusMethodNotAllowed, ""},
		// What is near is somebody else's.
		{http.MethodGet, "/readyz/", http.StatusUnauthorized, "caller_unauthenticated"},
		{http.MethodGet, "/livezz", http.StatusUnauthorized, "caller_unauthenticated"},
	} {
		got := h.Do(tt.method, tt.path, nil)
		if got.StatusCode != tt.status || !strings.Contains(got.Text, tt.text) {
			t.Errorf("%s %s: %s: %s; want %d with %s", tt.method, tt.path, got.Status, got.Text, tt.status, tt.text)
		}
		if got.StatusCode == http.StatusOK && (got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Content-Type") != "application/json") {
			t.Errorf("%s: header %v", tt.path, got.Header)
		}
		if got.StatusCode == http.StatusMethodNotAllowed && got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: header %v", tt.path, got.Header)
		}
	}
	h.WaitFor("the access log of the last request", func() bool {
		return strings.Contains(h.Logs.String(), "/livezz")
	})
	if strings.Contains(h.Logs.String(), `"uri":"/livez"`) || strings.Contains(h.Logs.String(), `"uri":"/readyz`+`"`) {
		t.Error("a probe is in the access log")
	}
}

// A store that cannot be used is seen by readiness, with the reason, and not by
// liveness.
func TestNotReady(t *testing.T) {
	h := caddytest.Start(t, site("store caddy {\n key_file DIR/store.key\n }", "hubspot_health {\n live /l\n ready /r\n}"))
	// A key file that others may read is refused until that is mended.
	key := h.WriteFile("store.key", "")
	got := h.Do(http.MethodGet, "/r", nil)
	if got.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(got.Text, `{"ready":false,"reasons":["store caddy: `) {
		t.Errorf("with a wrong key: %s: %s", got.Status, got.Text)
	}
	if got := h.Do(http.MethodGet, "/l", nil); got.StatusCode != http.StatusOK {
		t.Errorf("liveness with a wrong key: %s", got.Status)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the store", func() bool { return h.Do(http.MethodGet, "/r", nil).StatusCode == http.StatusOK })
}

func TestRefusedSettings(t *testing.T) {
	for _, tt := range []struct{ directive, want string }{
		{"hubspot_health hbdev", `takes no argument but a matcher; "hbdev" is too much`},
		{"hubspot_health {\n live livez\n}", `live: "livez" is not a path such as /livez`},
		{"hubspot_health {\n ready /r?x\n}", `ready: "/r?x" is not a path`},
		{"hubspot_health {\n ready /livez\n}", "live and ready are both /livez"},
		{"hubspot_health {\n probe /x\n}", `unknown setting "probe"; there are: live, ready`},
	} {
		h := caddytest.New(t)
		_, err := h.Adapt(site("", tt.directive))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %v; want file, line and %s", tt.directive, err, tt.want)
		}
	}
	h := caddytest.New(t)
	err := h.Load("http://localhost:0 {\n hubspot_health\n}")
	if err == nil || !strings.Contains(err.Error(), "the global option hubspot is missing") {
		t.Errorf("without the global option: %v", err)
	}
}

// While Caddy waits for its shutdown_delay, readiness says so and liveness stays.
func TestStopping(t *testing.T) {
	text := strings.Replace(site("", "hubspot_health"), "{\n", "{\n shutdown_delay 1s\n", 1)
	h := caddytest.Start(t, text)
	addr := h.Addr()
	h.ServerAddr = func() string { return addr }
	stopped := make(chan error, 1)
	go func() { stopped <- caddy.Stop() }()
	t.Cleanup(func() {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	h.WaitFor("the reason", func() bool {
		got := h.Do(http.MethodGet, "/readyz", nil)
		return got.StatusCode == http.StatusServiceUnavailable && strings.Contains(got.Text, `{"ready":false,"reasons":["stopping"]}`)
	})
	if got := h.Do(http.MethodGet, "/livez", nil); got.StatusCode != http.StatusOK {
		t.Errorf("liveness while stopping: %s", got.Status)
	}
}
