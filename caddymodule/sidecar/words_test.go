package sidecar

import (
	"log/slog"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func TestEveryEventHasWords(t *testing.T) {
	for _, kind := range []connection.EventKind{
		connection.EventConnected, connection.EventRefreshed, connection.EventRefreshFailed,
		connection.EventConnectionAlarm, connection.EventConnectionAlarmCleared, connection.EventReauthRequired, connection.EventDisconnected,
		connection.EventDisconnectPending, connection.EventDisconnectFinished, connection.EventPortalShared,
		connection.EventClaimTaken, connection.EventDoubleRefresh, connection.EventWritePending,
		connection.EventWriteRecovered, connection.EventFallbackUsed, connection.EventFallbackFailed,
		connection.EventAppAlarm, connection.EventAppAlarmCleared, connection.EventHealed,
	} {
		if eventInfos[kind].message == "" {
			t.Errorf("%s has no message of its own", kind)
		}
	}
}

// A connection that HubSpot refuses wants to be looked at, and subscribers are
// told, also that it is over.
func TestConnectionAlarmsAreLoud(t *testing.T) {
	alarm, over := eventInfos[connection.EventConnectionAlarm], eventInfos[connection.EventConnectionAlarmCleared]
	if alarm.level != slog.LevelError || alarm.caddy != "hubspot_connection_alarm" {
		t.Error("the alarm of a connection is no error, or reaches no subscriber")
	}
	if over.level != slog.LevelInfo || over.caddy != "hubspot_connection_alarm_cleared" {
		t.Error("the end of a connection's alarm is alarming, or reaches no subscriber")
	}
}
