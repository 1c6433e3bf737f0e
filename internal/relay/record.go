package caddymodule

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// Why there was no answer, in the field error of an audit line.
const (
	auditClientGone = "client_gone"
	// auditUnanswered is an error that another handler answers, such as
	// that of the directive request_body.
	auditUnanswered = "unanswered"
)

// headerCorrelationID is HubSpot's name for a request, in Go's spelling.
const headerCorrelationID = "X-Hubspot-Correlation-Id"

// audit has the call written down, if there is an audit log.
func (c *call) audit(r *http.Request) {
	log := c.proxy.app.audit
	if log == nil {
		return
	}
	e := audit.Entry{
		Kind: audit.KindCall, App: c.proxy.hub.name, Caller: c.callerName(), TokenID: c.tokenID(), Portal: c.token.HubID,
		Status: c.status(), Error: c.errorKind, CorrelationID: c.correlationID, Tries: c.tries,
	}
	e.Method, e.Path = c.auditTarget(r)
	switch {
	case c.errorKind != "":
	case c.received != 0:
		e.CorrelationID = audit.CorrelationID(c.hubspotID)
	case r.Context().Err() != nil:
		e.Error = auditClientGone
	default:
		e.Error = auditUnanswered
	}
	c.proxy.hub.auditUser(&e, c.user)
	log.Record(e)
}

// auditTarget is what a call asked for. One that was refused before its target
// was read has it from the request.
func (c *call) auditTarget(r *http.Request) (method, path string) {
	if c.target.path != "" {
		return audit.Method(c.method), audit.Template(c.target.path)
	}
	path = r.URL.EscapedPath()
	if after, ok := strings.CutPrefix(path, asPrefix); ok {
		_, path, _ = strings.Cut(after, "/")
		path = "/" + path
	}
	return audit.Method(r.Method), audit.Template(path)
}

// auditUser has the log find the user's tag, which may have to be asked for.
func (h *hubApp) auditUser(e *audit.Entry, user string) {
	if user != "" && len(user) <= maxUser {
		e.User, e.Tagger = user, h.manager
	}
}

// record has a request of a caller written down, if there is an audit log.
func (a *Auth) record(r *http.Request, path authPath, in admission, status int, err *apierror.Error) {
	log := a.app.audit
	if log == nil {
		return
	}
	e := audit.Entry{Kind: auditKind(path.endpoint, r.Method), Method: audit.Method(r.Method), Status: status}
	if in.caller != nil {
		e.Caller, e.TokenID = in.caller.Name(), cmp.Or(in.tokenID, tokenIDOf(in.caller))
	}
	if err != nil {
		e.Status, e.Error, e.CorrelationID = err.Status, string(err.SubCategory), err.CorrelationID
	}
	if app, ok := a.app.app(path.app); ok {
		e.App = app.name
		user := cmp.Or(path.user, in.user)
		if path.endpoint == endpointLink {
			user = in.query.Get(paramUser)
		}
		app.auditUser(&e, user)
	}
	log.Record(e)
}

func auditKind(e authEndpoint, method string) audit.Kind {
	switch {
	case e == endpointLink:
		return audit.KindLink
	case e == endpointTokens:
		return audit.KindToken
	case e == endpointList:
		return audit.KindList
	case method == http.MethodDelete:
		return audit.KindDisconnect
	}
	return audit.KindShow
}
