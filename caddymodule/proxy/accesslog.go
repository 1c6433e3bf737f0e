package proxy

import (
	"go.uber.org/zap/zapcore"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// accessLog is what the access log says of a call, once the line is written.
type accessLog struct{ call *relay.Call }

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (l accessLog) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	s := l.call.Summary()
	enc.AddString("app", s.App)
	for _, field := range [...]struct{ name, value string }{
		{"caller", s.Caller}, {"token_id", s.TokenID}, {"user_tag", s.UserTag}, {"dry_run", s.DryRun}, {"served_by", s.ServedBy},
		{"error", s.Error}, {"correlation_id", s.CorrelationID},
	} {
		if field.value != "" {
			enc.AddString(field.name, field.value)
		}
	}
	if s.AsApp {
		enc.AddString("as", "app")
	}
	if s.HubID != 0 {
		enc.AddInt64("hub_id", s.HubID)
	}
	if s.Tries > 0 {
		enc.AddInt("tries", s.Tries)
	}
	return nil
}
