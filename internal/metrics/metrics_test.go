package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sunset"
)

// collected is what a registry shows to Prometheus.
func collected(registry *prometheus.Registry) string {
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	return rec.Body.String()
}

func TestMetricsOfEvents(t *testing.T) {
	t.Parallel()
	m := New()
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
		m.Event(e)
	}
	m.Endings.Called("a", "crm-sync", sunset.Find("/owners/v2/owners"), time.Now(), slog.New(slog.DiscardHandler))
	m.Request("a", "crm-sync", SourceHubSpot, 204, time.Millisecond)
	m.Request("a", "crm-sync", SourceSidecar, 999, time.Millisecond)
	registry := prometheus.NewPedanticRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	text := collected(registry)
	if !strings.Contains(text, `caddy_hubspot_ending_days_left{app="a",family="/owners/v2/*"} -`) {
		t.Error("metrics lack an end that is past")
	}
	for _, want := range []string{
		`caddy_hubspot_app_alarm{app="a",reason="app_misconfigured"} 1`,
		`caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 0`,
		`caddy_hubspot_connection_events_total{app="a",event="connected"} 1`,
		`caddy_hubspot_requests_total{app="a",caller="crm-sync",code="2xx",source="hubspot"} 1`,
		`caddy_hubspot_requests_total{app="a",caller="crm-sync",code="other",source="sidecar"} 1`,
		`caddy_hubspot_ending_calls_total{app="a",caller="crm-sync",family="/owners/v2/*"} 1`,
		`caddy_hubspot_token_refreshes_total{app="a",result="failed"} 2`,
		`caddy_hubspot_token_refreshes_total{app="a",result="ok"} 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestStoreResults(t *testing.T) {
	t.Parallel()
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
