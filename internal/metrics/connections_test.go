package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// An app that has nothing to refresh shows what it may.
func TestMetricsOfTheRefreshBudget(t *testing.T) {
	t.Parallel()
	m := New()
	registry := prometheus.NewPedanticRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	for app, config := range map[string]connection.Config{"a": {}, "b": {RefreshCount: 30, RefreshPer: time.Minute}} {
		config.App = app
		manager := connection.NewManager(config)
		t.Cleanup(func() { _ = manager.Close(t.Context()) })
		defer m.CountConnections(app, manager)()
	}
	text := collected(registry)
	for _, want := range []string{
		`caddy_hubspot_refresh_budget_per_second{app="a"} 10`,
		`caddy_hubspot_refresh_budget_per_second{app="b"} 0.5`,
		`caddy_hubspot_refreshes_waiting{app="a"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s:\n%s", want, text)
		}
	}
}
