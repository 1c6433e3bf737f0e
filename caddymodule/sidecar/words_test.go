package sidecar

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

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
