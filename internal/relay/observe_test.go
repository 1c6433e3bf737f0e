package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Whatever happens to a request, and with every log there is turned on, the
// access token is in none of them.
func TestTokensAreInNoLog(t *testing.T) {
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
	text := hubspotCaddyfile("", "log\n hubspot_proxy hbdev {\n verbose_logs\n }")
	text = strings.Replace(text, "{\n\thubspot {", "{\n\tdebug\n\tmetrics\n\tservers {\n log_credentials\n trace\n }\n\thubspot {", 1)
	h := startCaddy(t, withAPI(text, upstream.url()), withAdmin())
	connect(t, h, "acme", testToken)
	for _, path := range []string{"/crm/x", "/crm/broken", "/oauth/x", "/crm/refused", "/crm/y"} {
		h.Get(path, "acme")
	}
	h.post(formType, form("method", "GET", "url", "/crm/z", "userForeignIdentifier", "acme"))
	h.WaitFor("the access log", func() bool { return strings.Count(h.Logs.String(), `"handled request"`) >= 6 })
	seen := h.Logs.String() + h.Admin("GET", "/config/").Text + h.Admin("GET", "/metrics").Text + h.Admin("GET", "/reverse_proxy/upstreams").Text
	for what, secret := range map[string]string{
		"access token": testToken, "second access token": newToken, "refresh token": testRefreshToken,
		"client secret": testClientSecret, "cookie of the edge": "secret-cookie-of-the-edge",
	} {
		if i := strings.Index(seen, secret); i >= 0 {
			t.Errorf("%s: …%s…", what, seen[max(0, i-300):min(len(seen), i+100)])
		}
	}
	for _, line := range h.logLines("upstream roundtrip") {
		if text := fmt.Sprint(line); strings.Contains(text, testCallerKey) || strings.Contains(text, "acme") {
			t.Errorf("the proxy logs the caller's key or the user: %s", text)
		}
	}
	// The test would find a token that is logged.
	for _, there := range []string{"upstream roundtrip", testCallerKey, `"handled request"`, `caddy_hubspot_requests_total`} {
		if !strings.Contains(seen, there) {
			t.Errorf("the logs do not have %q", there)
		}
	}
}

// logLines are the entries of the log that a message names.
func (h *harness) logLines(message string) (lines []map[string]any) {
	h.t.Helper()
	for line := range bytes.Lines([]byte(h.Logs.String())) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == message {
			lines = append(lines, entry)
		}
	}
	return lines
}

func TestAccessLogSaysWhoseCallItWas(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "log\n hubspot_proxy hbdev")
	h.Get("/crm/x", "acme")
	h.Get("/oauth/x", "acme")
	h.WaitFor("the access log", func() bool { return len(h.logLines("handled request")) == 2 })
	lines := h.logLines("handled request")
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

// requestCounts are the values of the metric of requests.
func requestCounts(t *testing.T) map[string]float64 {
	t.Helper()
	return counterValues(t, "caddy_hubspot_requests_total")
}

// counterValues are the values of a counter, by its labels.
func counterValues(t *testing.T, name string) map[string]float64 {
	t.Helper()
	active := caddy.ActiveContext()
	families, err := active.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			counts[strings.Join(labels, " ")] = metric.GetCounter().GetValue()
		}
	}
	return counts
}

func TestRequestsAreCounted(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "hubspot_proxy hbdev")
	h.Get("/crm/x", "acme")
	h.Get("/crm/x", "acme")
	h.Get("/oauth/x", "acme")
	h.Get("/crm/x", "globex")
	h.Do("GET", "/crm/x", nil)
	h.post(formType, form("method", "GET", "url", "/crm/z", "userForeignIdentifier", "acme"))
	counts := requestCounts(t)
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
