package sidecar_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestConnectionEventsAreLogged(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	hub := h.App("hbdev")
	if _, err := hub.Manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Manager.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	for message, event := range map[string]string{
		"user connected":         "connected",
		"access token refreshed": "refreshed",
		"user disconnected":      "disconnected",
	} {
		lines := h.LogLines(message)
		if len(lines) != 1 {
			t.Errorf("%q: %d lines, want 1", message, len(lines))
			continue
		}
		line := lines[0]
		if line["logger"] != "hubspot" || line["level"] != "info" || line["event"] != event || line["app"] != "hbdev" ||
			line["user_tag"] != hub.Manager.Tag(t.Context(), "acme") || line["hub_id"] != float64(sandbox.DemoHubID) {
			t.Errorf("%q: fields %v", message, line)
		}
	}
	if strings.Contains(strings.Join(messagesOf(t, h, "hubspot"), "\n"), "acme") {
		t.Error("the app's log names the user")
	}
}

// messagesOf returns the log lines of one logger.
func messagesOf(t *testing.T, h *caddytest.Harness, logger string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(h.Logs.String()) {
		if strings.Contains(line, `"logger":"`+logger+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestMetricsOutliveAReload(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	if err := h.Load(caddytest.Caddyfile("", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.App("hbdev").Manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	got := h.Admin(http.MethodGet, "/metrics")
	for _, want := range []string{
		`caddy_hubspot_connection_events_total{app="hbdev",event="connected"} 1`,
		`caddy_hubspot_token_refreshes_total{app="hbdev",result="ok"} 1`,
		`caddy_hubspot_store_operation_duration_seconds_count{operation="save",result="ok",store="caddy"}`,
		`caddy_hubspot_last_token_refresh_timestamp_seconds{app="hbdev"}`,
		`caddy_hubspot_connections{app="hbdev",status="active"} 1`,
		`caddy_hubspot_connections_troubled{app="hbdev"} 0`,
		`caddy_hubspot_app_alarm{app="hbdev",reason="app_misconfigured"} 0`,
		`caddy_hubspot_app_alarm{app="hbdev",reason="dead_grants"} 0`,
	} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, private := range []string{"acme", "62515001"} {
		if strings.Contains(got.Text, private) {
			t.Errorf("metrics hold %q", private)
		}
	}
}

func init() {
	caddy.RegisterModule(eventSink{})
}

// eventSink is an event handler module that collects what it gets.
type eventSink struct{}

var sunkEvents = struct {
	sync.Mutex
	list []caddy.Event
}{}

func (eventSink) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.hubspot_test", New: func() caddy.Module { return new(eventSink) }}
}

func (*eventSink) Handle(_ context.Context, e caddy.Event) error {
	sunkEvents.Lock()
	defer sunkEvents.Unlock()
	sunkEvents.list = append(sunkEvents.list, e)
	return nil
}

func sunk(name string) []map[string]any {
	sunkEvents.Lock()
	defer sunkEvents.Unlock()
	var found []map[string]any
	for _, e := range sunkEvents.list {
		if e.Name() == name {
			found = append(found, e.Data)
		}
	}
	return found
}

var _ caddyevents.Handler = (*eventSink)(nil)

func TestCaddyEvents(t *testing.T) {
	h := caddytest.New(t)
	config, err := h.Adapt(caddytest.Caddyfile("", caddytest.AuthAndProxy))
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	caddytest.Child(parsed, "apps")["events"] = map[string]any{"subscriptions": []any{map[string]any{
		"modules":  []string{"hubspot"},
		"handlers": []any{map[string]any{"handler": "hubspot_test"}},
	}}}
	if config, err = json.Marshal(parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	h.Connect("acme", sandbox.DemoHubID)
	manager := h.App("hbdev").Manager
	h.Fault(`{"revoke":{}}`)
	if _, err := manager.ForceRefresh(t.Context(), "acme"); err == nil {
		t.Fatal("the grant is not dead")
	}
	h.Connect("acme", sandbox.DemoHubID)
	if _, err := manager.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the events", func() bool { return len(sunk("hubspot_connected")) == 2 && len(sunk("hubspot_disconnected")) == 1 })
	lost, healed := sunk("hubspot_reauth_required"), sunk("hubspot_healed")
	if len(lost) != 1 || len(healed) != 1 || lost[0]["reason"] == nil || healed[0]["reason"] != lost[0]["reason"] ||
		healed[0]["user_tag"] != lost[0]["user_tag"] || healed[0]["lasted_seconds"] != int64(0) {
		t.Errorf("lost %v, healed %v", lost, healed)
	}
	data := sunk("hubspot_connected")[0]
	if data["app"] != "hbdev" || data["hub_id"] != sandbox.DemoHubID || data["user_tag"] == "" || len(data) != 3 {
		t.Errorf("data of hubspot_connected: %v", data)
	}
}
