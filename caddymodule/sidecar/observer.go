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
	name := eventInfos[e.Kind].caddy
	if name == "" {
		return
	}
	select {
	case o.queue <- e:
	default:
		o.logger.Warn("dropped an event: subscribers are too slow", "event", name)
	}
}

// log writes one line per event.
func (o *observer) log(e connection.Event) {
	info, ctx := eventInfos[e.Kind], context.Background()
	if !o.logger.Enabled(ctx, info.level) {
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
	o.logger.LogAttrs(ctx, info.level, info.message, fields...)
}

// eventInfo is how an event is told: the level and the words of its line in the
// log, and the name under which it reaches subscribers of Caddy's events app,
// empty for one that does not.
type eventInfo struct {
	level   slog.Level
	message string
	caddy   string
}

var eventInfos = map[connection.EventKind]eventInfo{
	connection.EventConnected:     {slog.LevelInfo, "user connected", "hubspot_connected"},
	connection.EventRefreshed:     {slog.LevelInfo, "access token refreshed", ""},
	connection.EventRefreshFailed: {slog.LevelWarn, "access token not refreshed; it will be tried again", ""},
	connection.EventConnectionAlarm: {slog.LevelError, "HubSpot refuses this connection alone; it will be tried again, less and less often",
		"hubspot_connection_alarm"},
	connection.EventConnectionAlarmCleared: {slog.LevelInfo, "the connection's alarm is over", "hubspot_connection_alarm_cleared"},
	connection.EventAppToken:               {slog.LevelInfo, "HubSpot gave the app a token of its own", ""},
	connection.EventAppTokenFailed:         {slog.LevelWarn, "HubSpot gave the app no token of its own; it will be asked again", ""},
	connection.EventReauthRequired:         {slog.LevelWarn, "connection lost: the user has to install the app again", "hubspot_reauth_required"},
	connection.EventHealed:                 {slog.LevelInfo, "connection healed: it has a grant again", "hubspot_healed"},
	connection.EventDisconnected:           {slog.LevelInfo, "user disconnected", "hubspot_disconnected"},
	connection.EventDisconnectPending:      {slog.LevelWarn, "user disconnected here, and not yet at HubSpot; it will be tried again", ""},
	connection.EventDisconnectFinished:     {slog.LevelInfo, "nothing is left of the disconnected user's connection", ""},
	connection.EventPortalShared:           {slog.LevelWarn, "two users of the app are connected to the same portal", ""},
	connection.EventClaimTaken:             {slog.LevelWarn, "took over a refresh that another process did not finish", ""},
	connection.EventDoubleRefresh:          {slog.LevelWarn, "two processes refreshed the same connection at once", ""},
	connection.EventWritePending:           {slog.LevelError, "new tokens are in memory only: the store does not take them", ""},
	connection.EventWriteRecovered:         {slog.LevelInfo, "pending tokens are in the store now", ""},
	connection.EventFallbackUsed:           {slog.LevelWarn, "the store is down: using the copy of the connection in fallback_cache", ""},
	connection.EventFallbackFailed:         {slog.LevelWarn, "fallback_cache cannot be used", ""},
	connection.EventAppAlarm:               {slog.LevelError, "something is wrong with the app as a whole", "hubspot_app_alarm"},
	connection.EventAppAlarmCleared:        {slog.LevelInfo, "the app is well again", "hubspot_app_alarm_cleared"},
	// Of installs; the install itself logs it.
	eventInstallFailed: {caddy: "hubspot_install_failed"},
}

// lasted are the kinds of events that end something, and tell how long that was.
var lasted = map[connection.EventKind]bool{
	connection.EventHealed: true, connection.EventConnectionAlarmCleared: true,
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
	name := eventInfos[e.Kind].caddy
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
	if lasted[e.Kind] {
		data["lasted_seconds"] = int64(e.Duration.Seconds())
	}
	o.events.Emit(ctx, name, data)
}

// Interface guard
var _ connection.Observer = (*observer)(nil)
