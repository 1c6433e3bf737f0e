package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// What has not happened is shown as 0, and an app that is gone has no alarms.
func TestApps(t *testing.T) {
	t.Parallel()
	m := New()
	registry := prometheus.NewPedanticRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	end := m.BeginApp("a")
	text := collected(registry)
	for _, want := range []string{
		`caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 0`,
		`caddy_hubspot_connection_events_total{app="a",event="reauth_required"} 0`,
		`caddy_hubspot_audit_lost_total 0`,
		`caddy_hubspot_token_refreshes_total{app="a",result="failed"} 0`,
		`caddy_hubspot_tokens_removed_total{app="a",where="body"} 0`,
		`caddy_hubspot_tokens_removed_total{app="a",where="header"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}

	endNext := m.BeginApp("a")
	m.Event(connection.Event{Kind: connection.EventAppAlarm, App: "a", Reason: "dead_grants"})
	if !strings.Contains(collected(registry), `caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 1`) {
		t.Error("metrics lack the alarm")
	}
	// A manager that is made anew has none.
	endLast := m.BeginApp("a")
	if !strings.Contains(collected(registry), `caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 0`) {
		t.Error("the alarm of the manager before is still there")
	}
	m.Event(connection.Event{Kind: connection.EventAppAlarm, App: "a", Reason: "dead_grants"})
	end()
	end()
	endLast()
	if !strings.Contains(collected(registry), `caddy_hubspot_app_alarm{app="a",reason="dead_grants"} 1`) {
		t.Error("the alarm of an app whose settings changed is gone")
	}
	endNext()
	if text := collected(registry); strings.Contains(text, `caddy_hubspot_app_alarm{`) {
		t.Error("an app that is gone has alarms")
	}
}
