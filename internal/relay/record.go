package relay

import (
	"context"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Why there was no answer, in the field error of an audit line.
const (
	auditClientGone = "client_gone"
	// auditUnanswered is an error that another handler answers, such as
	// that of the directive request_body.
	auditUnanswered = "unanswered"
)

// Summary is what an access log says of a call. Fields that do not apply are
// zero.
type Summary struct {
	App, Caller string
	// AsApp says that the call was one of the app itself, for no user.
	AsApp bool
	// TokenID is the id of the user token that the call came with.
	TokenID string
	// HubID is the portal, and UserTag stands for the user, as in other logs.
	HubID   int64
	UserTag string
	Tries   int
	// ServedBy is the app whose connection has served the call instead of the
	// user's own.
	ServedBy string
	// DryRun is the correlation id of what a policy on trial would have
	// refused.
	DryRun string
	// Error is the kind of an answer of our own, and CorrelationID its id.
	Error, CorrelationID string
}

// Summary tells what is known of the call by now.
func (c *Call) Summary() Summary {
	s := Summary{
		App: c.relay.App.Name, Caller: c.callerName(), AsApp: c.asApp, TokenID: c.tokenID(), HubID: c.token.HubID,
		Tries: c.tries, ServedBy: c.servedBy(), DryRun: c.dryRun, Error: c.errorKind, CorrelationID: c.correlationID,
	}
	if s.HubID != 0 {
		// With the token known, the tag is too, without asking the store.
		s.UserTag = c.relay.App.Manager.Tag(context.Background(), c.user)
	}
	return s
}

// tokenID names the user token of the call; empty without one.
func (c *Call) tokenID() string { return admission.TokenID(c.caller) }

// holder is who holds what the call takes of the budget.
func (c *Call) holder() holder { return holder{c.callerName(), c.tokenID()} }

// count counts the answer.
func (c *Call) count() {
	if c.tries == 0 {
		c.overhead += time.Since(c.since)
	}
	source := metrics.SourceSidecar
	if c.isHubSpots() {
		source = metrics.SourceHubSpot
	}
	c.relay.Metrics.Request(c.relay.App.Name, c.callerName(), source, c.answer.status, c.overhead)
}

// record has the call written down, if there is an audit log.
func (c *Call) record() {
	log := c.relay.Audit
	if log == nil {
		return
	}
	e := audit.Entry{
		Kind: audit.KindCall, App: c.relay.App.Name, Caller: c.callerName(), TokenID: c.tokenID(), Portal: c.token.HubID,
		Status: c.answer.status, Error: c.errorKind, CorrelationID: c.correlationID, Tries: c.tries,
	}
	e.Method, e.Path = c.auditTarget()
	if c.asApp {
		e.As = asApp
	}
	if app, user := c.serving(); app != c.relay.App {
		e.ServedBy, e.ServedTag = app.Name, app.Manager.Tag(context.Background(), user)
	}
	switch {
	case c.errorKind != "", c.answered:
	case c.received != 0:
		e.CorrelationID = c.guard.correlationID
	case c.inbound.Context().Err() != nil:
		e.Error = auditClientGone
	default:
		e.Error = auditUnanswered
	}
	if c.user != "" && len(c.user) <= userid.MaxLength {
		e.User, e.Tagger = c.user, c.relay.App.Manager
	}
	log.Record(e)
}

// auditTarget is what a call asked for. One that was refused before its target
// was read has it from the request.
func (c *Call) auditTarget() (method, path string) {
	if c.target.path != "" {
		return audit.Method(c.method), audit.Template(c.target.path)
	}
	path = c.inbound.URL.EscapedPath()
	if after, ok := strings.CutPrefix(path, asAppPrefix); ok {
		path = "/" + after
	}
	if after, ok := strings.CutPrefix(path, asPrefix); ok {
		_, path, _ = strings.Cut(after, "/")
		path = "/" + path
	}
	return audit.Method(c.inbound.Method), audit.Template(path)
}
