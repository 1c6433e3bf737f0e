package callerapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// log writes down what the caller is not told of a refusal.
func (q *request) log(e *apierror.Error) {
	ctx, caller := q.r.Context(), ""
	if q.caller != nil {
		caller = q.caller.Name()
	}
	level, lowered := q.logLimit.Level(caller, install.AnswerLevel(e.Status))
	if !q.config.Logger.Enabled(ctx, level) {
		return
	}
	fields := []slog.Attr{
		slog.String("endpoint", q.path.Endpoint.String()), slog.Int("status", e.Status),
		slog.String("reason", string(e.SubCategory)), slog.String("correlation_id", e.CorrelationID),
	}
	if caller != "" {
		fields = append(fields, slog.String("caller", caller))
	}
	if q.caller != nil && q.app != nil && q.user != "" {
		fields = append(fields, slog.String("app", q.app.Name), slog.String("user_tag", q.app.LogTag(ctx, q.user)))
	}
	if lowered > 0 {
		fields = append(fields, slog.Int64("more_at_debug_level", lowered))
	}
	if cause := e.Unwrap(); cause != nil {
		fields = append(fields, slog.Any("error", cause))
	}
	q.config.Logger.LogAttrs(ctx, level, "caller's request refused", fields...)
}

// note writes down which caller did what about which user.
func (q *request) note(ctx context.Context, what string, more ...slog.Attr) {
	fields := append([]slog.Attr{
		slog.String("app", q.app.Name), slog.String("caller", q.caller.Name()),
		slog.String("user_tag", q.app.Manager.Tag(ctx, q.user)),
	}, more...)
	if id := admission.TokenID(q.caller); id != "" {
		fields = append(fields, slog.String("token_id", id))
	}
	q.config.Logger.LogAttrs(ctx, slog.LevelInfo, what, fields...)
}

// record puts the request into the audit log, if there is one. e is nil for one
// that was not refused.
func (q *request) record(status int, e *apierror.Error) {
	if q.config.Audit == nil {
		return
	}
	entry := audit.Entry{Kind: q.kind(), Method: audit.Method(q.r.Method), Status: status, Portal: q.hubID}
	if q.caller != nil {
		entry.Caller, entry.TokenID = q.caller.Name(), cmp.Or(q.tokenID, admission.TokenID(q.caller))
	}
	if e != nil {
		entry.Error, entry.CorrelationID = string(e.SubCategory), e.CorrelationID
	}
	if app, ok := q.config.Desk.App(q.path.App); ok {
		entry.App = app.Name
		if q.user != "" && len(q.user) <= userid.MaxLength {
			// The log finds the user's tag, which may have to be asked for.
			entry.User, entry.Tagger = q.user, app.Manager
		}
	}
	q.config.Audit.Record(entry)
}

func (q *request) kind() audit.Kind {
	switch {
	case q.path.Endpoint == install.EndpointLink:
		return audit.KindLink
	case q.path.Endpoint == install.EndpointTokens:
		return audit.KindToken
	case q.path.Endpoint == install.EndpointList:
		return audit.KindList
	case q.r.Method == http.MethodDelete:
		return audit.KindDisconnect
	}
	return audit.KindShow
}
