package connection

import (
	"context"
	"time"
)

// EventKind says what happened to a connection or an app.
type EventKind string

// The kinds of [Event].
const (
	// EventConnected: a user installed the app, for the first time or again.
	EventConnected EventKind = "connected"
	// EventRefreshed: HubSpot gave a new access token; Duration is what that took.
	EventRefreshed EventKind = "refreshed"
	// EventRefreshFailed: a refresh gave no token; Err says why, and Reason is
	// [hubspot.TokenError.Reason] if HubSpot was asked. It will be tried again.
	EventRefreshFailed EventKind = "refresh_failed"
	// EventConnectionAlarm: HubSpot refuses this connection and says neither
	// that its grant is dead nor that the app is wrong, or answers for another
	// portal. Reason is HubSpot's word or [ReasonPortalChanged], Err has the
	// rest. It is emitted once for each reason, until the alarm is cleared;
	// refreshes are tried again less and less often.
	EventConnectionAlarm EventKind = "connection_alarm"
	// EventConnectionAlarmCleared: the connection's alarm for Reason is over
	// after Duration: it was refreshed, installed again or ended.
	EventConnectionAlarmCleared EventKind = "connection_alarm_cleared"
	// EventAppToken: HubSpot gave a token of the app itself; Duration is what
	// that took.
	EventAppToken EventKind = "app_token"
	// EventAppTokenFailed: it did not; Reason and Err are as those of
	// EventRefreshFailed. It will be tried again.
	EventAppTokenFailed EventKind = "app_token_failed"
	// EventReauthRequired: the grant is dead; Reason says how that was known.
	EventReauthRequired EventKind = "reauth_required"
	// EventHealed: a connection whose grant was taken for dead is well again,
	// after Duration; Reason is what had been wrong. The user has installed the
	// app again, or another process had a token.
	EventHealed EventKind = "healed"
	// EventDisconnected: the connection was ended and its tokens destroyed.
	EventDisconnected EventKind = "disconnected"
	// EventDisconnectPending: a connection was ended here, and HubSpot has
	// not ended its grant yet; Err says why. It will be tried again.
	EventDisconnectPending EventKind = "disconnect_pending"
	// EventDisconnectFinished: nothing is left of a connection; Reason says
	// what was done at HubSpot.
	EventDisconnectFinished EventKind = "disconnect_finished"
	// EventPortalShared: another user of the app is connected to the same portal.
	EventPortalShared EventKind = "portal_shared"
	// EventClaimTaken: another process's claim had run out and was taken over.
	EventClaimTaken EventKind = "claim_taken"
	// EventDoubleRefresh: two processes refreshed the same connection at once.
	EventDoubleRefresh EventKind = "double_refresh"
	// EventWritePending: new tokens are in memory only, the store does not take them. Err says why.
	EventWritePending EventKind = "write_pending"
	// EventWriteRecovered: what was pending is in the store now.
	EventWriteRecovered EventKind = "write_recovered"
	// EventFallbackUsed: the store is down and the connection was taken from its copy.
	EventFallbackUsed EventKind = "fallback_used"
	// EventFallbackFailed: a copy for the fallback could not be written or read; Err says why.
	EventFallbackFailed EventKind = "fallback_failed"
	// EventAppAlarm: something is wrong with the whole app; Reason is an [AlarmReason].
	EventAppAlarm EventKind = "app_alarm"
	// EventAppAlarmCleared: the alarm for Reason is over.
	EventAppAlarmCleared EventKind = "app_alarm_cleared"
)

// Event is something that operators want to know. It holds no token and no
// user identifier.
type Event struct {
	Kind EventKind
	App  string
	// Tag stands for the user: opaque and stable. Empty for events of the app.
	Tag      string
	HubID    int64
	Reason   string
	Duration time.Duration
	Err      error
}

// Observer is told of events, on the goroutine on which they happen: it must
// be quick and safe for concurrent use.
type Observer interface {
	Event(Event)
}

// SetObserver replaces the observer; nil is none. A Manager outlives the
// configuration it was made for, its observer need not.
func (m *Manager) SetObserver(o Observer) {
	m.observer.Store(&o)
}

func (m *Manager) emit(e Event) {
	o := *m.observer.Load()
	if o == nil {
		return
	}
	e.App = m.config.App
	o.Event(e)
}

// emitFor emits an event of one connection.
func (m *Manager) emitFor(r Record, e Event) {
	if *m.observer.Load() == nil {
		return
	}
	e.Tag = m.Tag(m.ctx, r.User)
	e.HubID = r.HubID
	m.emit(e)
}

// healed emits EventHealed for a write that has made a connection active, if it
// was reauth_required before.
func (m *Manager) healed(old, saved Record) {
	if old.Status != StatusReauthRequired {
		return
	}
	e := Event{Kind: EventHealed, Reason: old.Reason}
	if !old.ReasonAt.IsZero() {
		e.Duration = max(time.Since(old.ReasonAt), 0)
	}
	m.emitFor(saved, e)
}

// tagLength is enough of the identifier to tell users apart in a log.
const tagLength = 12

// Tag returns the opaque and stable name under which logs speak of user. It
// is "unknown" while the store cannot be asked for what it is made with.
func (m *Manager) Tag(ctx context.Context, user string) string {
	id, err := m.config.Store.ID(ctx, m.key(user))
	if err != nil || len(id) < tagLength {
		return "unknown"
	}
	return id[:tagLength]
}
