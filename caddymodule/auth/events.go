package auth

import (
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// eventFailed is the name of the event of an install that failed.
const eventFailed = "hubspot_install_failed"

// failureQueue is how many failed installs may wait for subscribers.
const failureQueue = 256

// reportFailures returns what failed installs are to be told. It hands them to
// the subscribers of Caddy's events app until the config ends; these may be
// slow, and no browser is to wait for them.
func reportFailures(ctx caddy.Context) (report func(app, reason string), err error) {
	value, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting events app: %w", err)
	}
	events, ok := value.(*caddyevents.App)
	if !ok {
		return nil, fmt.Errorf("events app is a %T", value)
	}
	logger, queue := ctx.Slogger(), make(chan map[string]any, failureQueue)
	go func() {
		for {
			select {
			case data := <-queue:
				events.Emit(ctx, eventFailed, data)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(app, reason string) {
		if !events.ShouldEmit(eventFailed) {
			return
		}
		select {
		case queue <- map[string]any{"app": app, "reason": reason}:
		default:
			logger.Warn("dropped an event: subscribers are too slow", slog.String("event", eventFailed))
		}
	}, nil
}
