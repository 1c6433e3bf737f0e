package relay_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestProxyCallsAsTheUser(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	got := h.Do("POST", "/crm/objects/2026-09/contacts?a=b", strings.NewReader("{}"),
		"Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme", "Content-Type", "application/json")
	if got.StatusCode != http.StatusOK || got.Text != `{"ok": true}` {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	for name, want := range map[string]string{
		"X-HubSpot-Portal": "4711",
		"Proxy-Status":     `caddy-hubspot; received-status=200; details="tries=1"`,
		"Server":           "",
		"Via":              "",
		"Content-Type":     "application/json",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	sent := upstream.last(t)
	if sent.start != "POST /crm/objects/2026-09/contacts?a=b HTTP/1.1" || string(sent.body) != "{}" {
		t.Errorf("sent %s with %q", sent.start, sent.body)
	}
	if got := sent.get("Authorization"); len(got) != 1 || got[0] != "Bearer "+testToken {
		t.Errorf("Authorization %q", got)
	}
	if got := sent.first("Host"); got != strings.TrimPrefix(upstream.url(), "http://") {
		t.Errorf("Host %q", got)
	}
	if got := sent.get("X-HubSpot-User"); got != nil {
		t.Errorf("X-HubSpot-User %q", got)
	}
}
