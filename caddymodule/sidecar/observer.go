package sidecar

import (
	"context"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
)

// observer tells this config's log, metrics and event subscribers what the
// connection managers report.
type observer struct {
	logger  *slog.Logger
	metrics *metrics.Metrics
	events  *caddyevents.App
	// queue separates subscribers, which may be slow, from the refreshes
	// and requests that report to them.
	queue chan connection.Event
}

// eventQueue is how many events may wait for subscribers.
const eventQueue = 256

func newObserver(logger *slog.Logger, m *metrics.Metrics, events *caddyevents.App) *observer {
	return &observer{logger: logger, metrics: m, events: events, queue: make(chan connection.Event, eventQueue)}
}

// Event implements [connection.Observer].
func (o *observer) Event(e connection.Event) {
	o.metrics.Event(e)
	o.log(e)
	o.hand(e)
}

// hand has an event reach its subscribers, if it is one that does.
func (o *observer) hand(e connection.Event) {
	if caddyEvent(e.Kind) == "" {
		return
	}
	select {
	case o.queue <- e:
	default:
		o.logger.Warn("dropped an event: subscribers are too slow", "event", caddyEvent(e.Kind))
	}
}

// log writes one line per event.
func (o *observer) log(e connection.Event) {
	level := eventLevel(e.Kind)
	ctx := context.Background()
	if !o.logger.Enabled(ctx, level) {
		return
	}
	fields := make([]slog.Attr, 0, 7)
	fields = append(fields, slog.String("event", string(e.Kind)), slog.String("app", e.App))
	if e.Tag != "" {
		fields = append(fields, slog.String("user_tag", e.Tag))
	}
	if e.HubID != 0 {
		fields = append(fields, slog.Int64("hub_id", e.HubID))
	}
	if e.Reason != "" {
		fields = append(fields, slog.String("reason", e.Reason))
	}
	if e.Duration != 0 {
		fields = append(fields, slog.Duration("duration", e.Duration))
	}
	if e.Err != nil {
		fields = append(fields, slog.Any("error", e.Err))
	}
	o.logger.LogAttrs(ctx, level, eventMessage(e.Kind), fields...)
}

// eventLevel is how much attention an event wants.
func eventLevel(kind connection.EventKind) slog.Level {
	switch kind {
	case connection.EventAppAlarm, connection.EventConnectionAlarm, connection.EventWritePending:
		return slog.LevelError
	case connection.EventRefreshFailed, connection.EventReauthRequired, connection.EventPortalShared,
		connection.EventClaimTaken, connection.EventDoubleRefresh,
		connection.EventFallbackUsed, connection.EventFallbackFailed:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// eventMessage words an event for a log.
func eventMessage(kind connection.EventKind) string {
	switch kind {
	case connection.EventConnected:
		return "user connected"
	case connection.EventRefreshed:
		return "access token refreshed"
	case connection.EventRefreshFailed:
		return "access token not refreshed; it will be tried again"
	case connection.EventConnectionAlarm:
		return "HubSpot refuses this connection alone; it will be tried again, less and less often"
	case connection.EventConnectionAlarmCleared:
		return "the connection's alarm is over"
	case connection.EventReauthRequired:
		return "connection lost: the user has to install the app again"
	case connection.EventDisconnected:
		return "user disconnected"
	case connection.EventPortalShared:
		return "two users of the app are connected to the same portal"
	case connection.EventClaimTaken:
		return "took over a refresh that another process did not finish"
	case connection.EventDoubleRefresh:
		return "two processes refreshed the same connection at once"
	case connection.EventWritePending:
		return "new tokens are in memory only: the store does not take them"
	case connection.EventWriteRecovered:
		return "pending tokens are in the store now"
	case connection.EventFallbackUsed:
		return "the store is down: using the copy of the connection in fallback_cache"
	case connection.EventFallbackFailed:
		return "fallback_cache cannot be used"
	case connection.EventAppAlarm:
		return "something is wrong with the app as a whole"
	case connection.EventAppAlarmCleared:
		return "the app is well again"
	}
	return "connection event"
}

// caddyEvent is the name under which an event reaches subscribers of Caddy's
// events app, empty for one that does not.
func caddyEvent(kind connection.EventKind) string {
	switch kind {
	case connection.EventConnected:
		return "hubspot_connected"
	case connection.EventDisconnected:
		return "hubspot_disconnected"
	case connection.EventReauthRequired:
		return "hubspot_reauth_required"
	case connection.EventConnectionAlarm:
		return "hubspot_connection_alarm"
	case connection.EventAppAlarm:
		return "hubspot_app_alarm"
	case eventInstallFailed:
		return "hubspot_install_failed"
	}
	return ""
}

// eventInstallFailed is an event that no connection has: there may be none.
const eventInstallFailed connection.EventKind = "install_failed"

// InstallFailed tells the subscribers of Caddy's events that an install of an
// app has failed, and in a word why. It does not wait for them.
func (s *Sidecar) InstallFailed(app, reason string) {
	s.observer.hand(connection.Event{Kind: eventInstallFailed, App: app, Reason: reason})
}

// dispatch hands events to subscribers until the config ends.
func (o *observer) dispatch(ctx caddy.Context) {
	for {
		select {
		case e := <-o.queue:
			o.emit(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

func (o *observer) emit(ctx caddy.Context, e connection.Event) {
	name := caddyEvent(e.Kind)
	if !o.events.ShouldEmit(name) {
		return
	}
	data := map[string]any{"app": e.App}
	if e.Tag != "" {
		data["user_tag"] = e.Tag
	}
	if e.HubID != 0 {
		data["hub_id"] = e.HubID
	}
	if e.Reason != "" {
		data["reason"] = e.Reason
	}
	o.events.Emit(ctx, name, data)
}

// Interface guard
var _ connection.Observer = (*observer)(nil)
