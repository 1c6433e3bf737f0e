package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

func TestAccessLogSaysWhoseCallItWas(t *testing.T) {
	h := start(t, caddytest.Upstream(t), "log\n hubspot_proxy hbdev")
	h.Get("/crm/x", "acme")
	h.Get("/oauth/x", "acme")
	h.WaitFor("the access log", func() bool { return len(h.LogLines("handled request")) == 2 })
	lines := h.LogLines("handled request")
	call := fmt.Sprint(lines[0]["hubspot"])
	for _, want := range []string{"app:hbdev", "caller:tester", "hub_id:4711", "tries:1", "user_tag:"} {
		if !strings.Contains(call, want) {
			t.Errorf("%s lacks %s", call, want)
		}
	}
	if strings.Contains(call, "acme") {
		t.Errorf("%s names the user", call)
	}
	if call := fmt.Sprint(lines[1]["hubspot"]); !strings.Contains(call, "error:endpoint_blocked") || !strings.Contains(call, "correlation_id:") {
		t.Errorf("%s does not say what was wrong", call)
	}
}

// Whatever happens to a request, and with every log there is turned on, the
// access token is in none of them.
func TestTokensAreInNoLogOfCaddys(t *testing.T) {
	const newToken = "CTestAccessToken0000000000000002"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "__cf_bm=secret-cookie-of-the-edge")
		switch {
		case strings.HasPrefix(r.URL.Path, "/oauth/"):
			_, _ = io.WriteString(w, `{"token_type":"bearer","refresh_token":"`+sidecartest.RefreshToken+`","access_token":"`+newToken+`","hub_id":4711,"scopes":["oauth"],"expires_in":1800}`)
		case strings.Contains(r.URL.Path, "/refused") && r.Header.Get("Authorization") == "Bearer "+caddytest.AccessToken:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"category":"EXPIRED_AUTHENTICATION"}`)
		case strings.Contains(r.URL.Path, "/broken"):
			panic(http.ErrAbortHandler)
		}
	}))
	defer upstream.Close()
	text := caddytest.Unpaced(caddytest.WithAPI(caddytest.Caddyfile("", "log\n hubspot_proxy hbdev"), upstream.URL))
	text = strings.Replace(text, "{\n\thubspot {", "{\n\tdebug\n\tmetrics\n\tservers {\n log_credentials\n trace\n }\n\thubspot {", 1)
	h := caddytest.Start(t, text, caddytest.WithAdmin())
	h.ConnectAs("acme", caddytest.AccessToken)
	for _, path := range []string{"/crm/x", "/crm/broken", "/oauth/x", "/crm/refused", "/crm/y"} {
		h.Get(path, "acme")
	}
	h.Do("POST", "/raw/hbdev", strings.NewReader("method=GET&url=/crm/z&userForeignIdentifier=acme"),
		"Authorization", "Bearer "+caddytest.CallerKey, "Content-Type", "application/x-www-form-urlencoded")
	h.WaitFor("the access log", func() bool { return strings.Count(h.Logs.String(), `"handled request"`) >= 6 })
	seen := h.Logs.String() + h.Admin("GET", "/config/").Text + h.Admin("GET", "/metrics").Text
	for what, secret := range map[string]string{
		"access token": caddytest.AccessToken, "second access token": newToken, "refresh token": sidecartest.RefreshToken,
		"client secret": caddytest.ClientSecret, "cookie of the edge": "secret-cookie-of-the-edge",
	} {
		if i := strings.Index(seen, secret); i >= 0 {
			t.Errorf("%s: …%s…", what, seen[max(0, i-300):min(len(seen), i+100)])
		}
	}
	// The test would find a token that is logged.
	for _, there := range []string{caddytest.CallerKey, `"handled request"`, `caddy_hubspot_requests_total`} {
		if !strings.Contains(seen, there) {
			t.Errorf("the logs do not have %q", there)
		}
	}
}
