package relay_test

import (
	"io"
	"strings"
	"testing"
)

// Whatever happens to a request, the access token is in none of our logs.
func TestTokensAreInNoLog(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		answer := jsonAnswer(200, "{}", "Set-Cookie: __cf_bm=secret-cookie-of-the-edge")
		switch {
		case isTokenRequest(m):
			answer = tokenAnswer(newToken)
		case strings.Contains(m.start, "/refused") && m.first("Authorization") == "Bearer "+testToken:
			answer = jsonAnswer(401, expiredBody)
		case strings.Contains(m.start, "/broken"):
			return errHangUp
		}
		_, err := io.WriteString(w, answer)
		return err
	})
	h := startProxy(t, upstream.url())
	for _, path := range []string{"/crm/x", "/crm/broken", "/oauth/x", "/crm/refused", "/crm/y"} {
		h.Get(path, "acme")
	}
	h.post(formType, form("method", "GET", "url", "/crm/z", "userForeignIdentifier", "acme"))
	seen := h.Logs.String()
	for what, secret := range map[string]string{
		"access token": testToken, "second access token": newToken, "refresh token": testRefreshToken,
		"client secret": testClientSecret, "cookie of the edge": "secret-cookie-of-the-edge", "caller's key": testCallerKey, "user": "acme",
	} {
		if i := strings.Index(seen, secret); i >= 0 {
			t.Errorf("%s: …%s…", what, seen[max(0, i-300):min(len(seen), i+100)])
		}
	}
	// The test would find a token that is logged.
	if len(h.logLines("a request failed")) != 1 || len(h.logLines("refused a request")) != 1 {
		t.Errorf("the logs do not tell of the calls: %s", seen)
	}
}

func TestSummarySaysWhoseCallItWas(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	h.Get("/crm/x", "acme")
	h.Get("/oauth/x", "acme")
	call := <-h.summaries
	if call.App != "hbdev" || call.Caller != "tester" || call.HubID != 4711 || call.Tries != 1 || call.Error != "" || call.CorrelationID != "" {
		t.Errorf("%+v", call)
	}
	if call.UserTag == "" || strings.Contains(call.UserTag, "acme") {
		t.Errorf("user_tag %q", call.UserTag)
	}
	if call := <-h.summaries; call.Error != "endpoint_blocked" || len(call.CorrelationID) != 36 {
		t.Errorf("%+v does not say what was wrong", call)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	h.Get("/crm/x", "acme")
	h.Get("/crm/x", "acme")
	h.Get("/oauth/x", "acme")
	h.Get("/crm/x", "globex")
	h.Do("GET", "/crm/x", nil)
	h.post(formType, form("method", "GET", "url", "/crm/z", "userForeignIdentifier", "acme"))
	counts := h.metric("caddy_hubspot_requests_total")
	for labels, want := range map[string]float64{
		"app=hbdev caller=tester code=2xx source=hubspot": 3,
		"app=hbdev caller=tester code=4xx source=sidecar": 2,
		"app=hbdev caller= code=4xx source=sidecar":       1,
	} {
		if counts[labels] != want {
			t.Errorf("%s: %v, want %v; there is %v", labels, counts[labels], want, counts)
		}
	}
}
