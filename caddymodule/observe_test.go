package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// logLines returns the captured log lines with the given message.
func logLines(t *testing.T, h *harness, message string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(h.Logs.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if fields["msg"] == message {
			lines = append(lines, fields)
		}
	}
	return lines
}

func TestConnectionEventsAreLogged(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile("", authAndProxy))
	h.Connect("acme", sandbox.DemoHubID)
	hub := hub(h)
	if _, err := hub.manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if err := hub.manager.Disconnect(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for message, event := range map[string]string{
		"user connected":         "connected",
		"access token refreshed": "refreshed",
		"user disconnected":      "disconnected",
	} {
		lines := logLines(t, h, message)
		if len(lines) != 1 {
			t.Errorf("%q: %d lines, want 1", message, len(lines))
			continue
		}
		line := lines[0]
		if line["logger"] != "hubspot" || line["level"] != "info" || line["event"] != event || line["app"] != "hbdev" ||
			line["user_tag"] != hub.manager.Tag(t.Context(), "acme") || line["hub_id"] != float64(sandbox.DemoHubID) {
			t.Errorf("%q: fields %v", message, line)
		}
	}
	if strings.Contains(strings.Join(messagesOf(t, h, "hubspot"), "\n"), "acme") {
		t.Error("the app's log names the user")
	}
}

// messagesOf returns the log lines of one logger.
func messagesOf(t *testing.T, h *harness, logger string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(h.Logs.String()) {
		if strings.Contains(line, `"logger":"`+logger+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestEveryEventHasWords(t *testing.T) {
	for _, kind := range []connection.EventKind{
		connection.EventConnected, connection.EventRefreshed, connection.EventRefreshFailed,
		connection.EventReauthRequired, connection.EventDisconnected, connection.EventPortalShared,
		connection.EventClaimTaken, connection.EventDoubleRefresh, connection.EventWritePending,
		connection.EventWriteRecovered, connection.EventFallbackUsed, connection.EventFallbackFailed,
		connection.EventAppAlarm, connection.EventAppAlarmCleared,
	} {
		if eventMessage(kind) == "connection event" {
			t.Errorf("%s has no message of its own", kind)
		}
	}
}

func TestMetricsOfEvents(t *testing.T) {
	m := newMetrics()
	for _, e := range []connection.Event{
		{Kind: connection.EventConnected, App: "a"},
		{Kind: connection.EventRefreshed, App: "a", Duration: time.Second},
		{Kind: connection.EventRefreshed, App: "a", Duration: time.Second},
		{Kind: connection.EventRefreshFailed, App: "a", Err: errors.New("x")},
		{Kind: connection.EventReauthRequired, App: "a"},
		{Kind: connection.EventAppAlarm, App: "a", Reason: "dead_grants"},
		{Kind: connection.EventAppAlarm, App: "a", Reason: "app_misconfigured"},
		{Kind: connection.EventAppAlarmCleared, App: "a", Reason: "dead_grants"},
	} {
		m.event(e)
	}
	m.request("a", "crm-sync", sourceHubSpot, 204, time.Millisecond)
	m.request("a", "crm-sync", sourceSidecar, 999, time.Millisecond)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.connectionEvents, m.refreshes, m.appAlarm, m.requests)
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, want := range []string{
		`caddy_hubspot_app_alarm{app="a",reason="app_misconfigured"} 1`,
		`caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 0`,
		`caddy_hubspot_connection_events_total{app="a",event="connected"} 1`,
		`caddy_hubspot_requests_total{app="a",caller="crm-sync",code="2xx",source="hubspot"} 1`,
		`caddy_hubspot_requests_total{app="a",caller="crm-sync",code="other",source="sidecar"} 1`,
		`caddy_hubspot_token_refreshes_total{app="a",result="failed"} 2`,
		`caddy_hubspot_token_refreshes_total{app="a",result="ok"} 2`,
	} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestMetricsOutliveAReload(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile("", authAndProxy), withAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	if err := h.Load(hubspotCaddyfile("", authAndProxy)); err != nil {
		t.Fatal(err)
	}
	if _, err := hub(h).manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	got := h.Admin(http.MethodGet, "/metrics")
	for _, want := range []string{
		`caddy_hubspot_connection_events_total{app="hbdev",event="connected"} 1`,
		`caddy_hubspot_token_refreshes_total{app="hbdev",result="ok"} 1`,
		`caddy_hubspot_store_operation_duration_seconds_count{operation="save",result="ok",store="caddy"}`,
		`caddy_hubspot_last_token_refresh_timestamp_seconds{app="hbdev"}`,
		`caddy_hubspot_connections{app="hbdev",status="active"} 1`,
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

func TestStoreResults(t *testing.T) {
	for err, want := range map[error]string{
		nil:                                   "ok",
		wrapped(connection.ErrNotFound):       "not_found",
		wrapped(connection.ErrConflict):       "conflict",
		wrapped(connection.ErrCorrupt):        "corrupt",
		wrapped(connection.ErrUnavailable):    "unavailable",
		wrapped(context.DeadlineExceeded):     "error",
		wrapped(errors.New("something else")): "error",
	} {
		if got := storeResult(err); got != want {
			t.Errorf("result of %v: %s, want %s", err, got, want)
		}
	}
}

func wrapped(err error) error { return errors.Join(errors.New("loading"), err) }

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
	h := newHarness(t)
	config, err := h.Adapt(hubspotCaddyfile("", authAndProxy))
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	child(parsed, "apps")["events"] = map[string]any{"subscriptions": []any{map[string]any{
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
	if err := hub(h).manager.Disconnect(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the events", func() bool { return len(sunk("hubspot_connected")) == 1 && len(sunk("hubspot_disconnected")) == 1 })
	data := sunk("hubspot_connected")[0]
	if data["app"] != "hbdev" || data["hub_id"] != sandbox.DemoHubID || data["user_tag"] == "" || len(data) != 3 {
		t.Errorf("data of hubspot_connected: %v", data)
	}
}
