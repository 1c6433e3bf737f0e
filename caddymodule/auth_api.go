package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Parameters of the endpoints for callers.
const (
	paramUser              = "userForeignIdentifier"
	paramAllowPortalChange = "allow_portal_change"
	paramLimit             = "limit"
	paramAfter             = "after"
)

// Bounds of a page of connections, and of the cursor, which is the store's.
const (
	defaultPageLimit = 100
	maxPageLimit     = 100
	maxCursor        = 1024
)

const badCursor = "The parameter after is not a cursor of this endpoint: take it from paging.next.after."

// serveAPI answers a caller.
func (a *Auth) serveAPI(w http.ResponseWriter, r *http.Request, path authPath) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	content, in, err := a.api(w, r, path)
	status := http.StatusOK
	if content == nil {
		status = http.StatusNoContent
	}
	defer a.record(r, path, in, status, err)
	switch {
	case err != nil:
		if err.Status == http.StatusMethodNotAllowed {
			h.Set("Allow", strings.Join(allowedMethods(path.endpoint), ", "))
		}
		a.logAPIError(path, in.caller, err)
		err.ServeHTTP(w, r)
	case content == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, r, status, content)
	}
}

// logAPIError writes down what the caller is not told. caller is nil if it is
// not known.
func (a *Auth) logAPIError(path authPath, caller *access.Caller, err *apierror.Error) {
	level, more := answerLevel(err.Status), zap.Skip()
	if caller == nil {
		level, more = a.strangers.level(level)
	}
	line := a.logger.Check(level, "caller's request refused")
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("endpoint", path.endpoint.String()), zap.Int("status", err.Status),
		zap.String("reason", string(err.SubCategory)), zap.String("correlation_id", err.CorrelationID), more,
	}
	if cause := err.Unwrap(); cause != nil {
		fields = append(fields, zap.Error(cause))
	}
	line.Write(fields...)
}

func allowedMethods(e authEndpoint) []string {
	switch e {
	case endpointConnection:
		return []string{http.MethodGet, http.MethodHead, http.MethodDelete}
	case endpointTokens:
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodHead}
}

// api does what a caller asks for. A nil content is an answer without one.
// With an error, in is what was found out before it.
func (a *Auth) api(w http.ResponseWriter, r *http.Request, path authPath) (content any, in admission, err *apierror.Error) {
	if methods := allowedMethods(path.endpoint); !slices.Contains(methods, r.Method) {
		err := apierror.New(apierror.BadRequest, fmt.Sprintf("Use %s here.", strings.Join(methods, ", ")))
		err.Status = http.StatusMethodNotAllowed
		return nil, in, err
	}
	refused := guardSize(r)
	if path.endpoint != endpointTokens {
		refused = guardShape(w, r)
	}
	if refused != nil {
		return nil, in, refused.problem
	}
	if in, err = a.admit(r, path); err != nil {
		return nil, in, err
	}
	content, err = a.perform(r, &in, path)
	return content, in, err
}

// perform does what an admitted caller asks for.
func (a *Auth) perform(r *http.Request, in *admission, path authPath) (content any, err *apierror.Error) {
	switch {
	case path.endpoint == endpointTokens:
		return a.issueToken(r, in)
	case path.endpoint == endpointLink:
		return a.link(r, *in)
	case path.endpoint == endpointList:
		return a.list(r, *in)
	case path.user == "":
		return nil, apierror.New(apierror.UserRequired,
			"The path has to end in the user, percent-encoded, slashes too: …/connections/{app}/{user}.")
	}
	if err := in.checkUser(r.Context(), path.user); err != nil {
		return nil, err
	}
	tending := freeze.Call{User: path.user, Tending: true, Writes: r.Method == http.MethodDelete}
	if err := in.checkFrozen(r.Context(), tending); err != nil {
		return nil, err
	}
	if r.Method == http.MethodDelete {
		return nil, a.disconnect(r, *in, path.user)
	}
	return a.show(r, *in, path.user)
}

// installLinkAnswer is the answer of the link endpoint.
type installLinkAnswer struct {
	URL  string `json:"url"`
	User string `json:"userForeignIdentifier"`
	UUID string `json:"UUID"`
}

// link makes an install link for a button.
func (a *Auth) link(r *http.Request, in admission) (any, *apierror.Error) {
	user := in.query.Get(paramUser)
	if user == "" {
		return nil, apierror.New(apierror.UserRequired, "The parameter userForeignIdentifier is missing: say for whom the link is.")
	}
	if err := in.checkUser(r.Context(), user); err != nil {
		return nil, err
	}
	if err := in.checkFrozen(r.Context(), freeze.Call{User: user, Writes: true}); err != nil {
		return nil, err
	}
	options, err := a.linkOptions(user, in.query)
	if err != nil {
		return nil, apierror.Wrap(apierror.BadRequest, sentence(err), err)
	}
	if options.allowPortalChange && in.caller.Scope() != nil {
		return nil, apierror.New(apierror.CallerForbidden, "A user token cannot move its user to another HubSpot account. Ask with the key of a caller.")
	}
	options.caller = in.caller.Name()
	link, err := in.app.installLink(r.Context(), options)
	if err != nil {
		return nil, refuseStart(err).about(in.app, "").problem
	}
	uuid, err := in.app.uuid(r.Context())
	if err != nil {
		return nil, refuseStart(err).about(in.app, "").problem
	}
	a.audit(r.Context(), "install link made", in, user)
	return installLinkAnswer{URL: link, User: user, UUID: uuid}, nil
}

func (a *Auth) linkOptions(user string, query url.Values) (linkOptions, error) {
	options := linkOptions{user: user}
	switch query.Get(paramAllowPortalChange) {
	case "true":
		options.allowPortalChange = true
	case "", "false":
	default:
		return options, errors.New("allow_portal_change must be true or false")
	}
	raw := query.Get(paramReturnTo)
	if raw == "" {
		return options, nil
	}
	address, err := a.returnTo.check(raw)
	options.returnTo = address.String()
	return options, err
}

// list shows a page of the connections that the caller may see.
func (a *Auth) list(r *http.Request, in admission) (any, *apierror.Error) {
	if err := in.checkFrozen(r.Context(), freeze.Call{Tending: true}); err != nil {
		return nil, err
	}
	limit := defaultPageLimit
	if in.query.Has(paramLimit) {
		n, err := strconv.Atoi(in.query.Get(paramLimit))
		if err != nil || n < 1 || n > maxPageLimit {
			return nil, apierror.New(apierror.BadRequest, fmt.Sprintf("The parameter limit must be a number from 1 to %d.", maxPageLimit))
		}
		limit = n
	}
	after := in.query.Get(paramAfter)
	if len(after) > maxCursor || strings.ContainsFunc(after, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, apierror.New(apierror.BadRequest, badCursor)
	}
	if scope := in.caller.Scope(); scope != nil {
		return a.listOwn(r, in, scope.User, after)
	}
	show, listed := in.maySee(r.Context())
	defer listed()
	summaries, next, err := in.app.manager.List(r.Context(), after, limit, show)
	if errors.Is(err, connection.ErrBadCursor) {
		return nil, apierror.New(apierror.BadRequest, badCursor)
	}
	if err != nil {
		return nil, storeError(in.app, err)
	}
	return newConnectionPage(summaries, next), nil
}

// listOwn is list for a user token: there is one connection to look for, and
// no page after it.
func (a *Auth) listOwn(r *http.Request, in admission, user, after string) (any, *apierror.Error) {
	if after != "" {
		return nil, apierror.New(apierror.BadRequest, badCursor)
	}
	if show, _ := in.maySee(r.Context()); !show(user) {
		return newConnectionPage(nil, ""), nil
	}
	summary, err := in.app.manager.Get(r.Context(), user)
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		return newConnectionPage(nil, ""), nil
	case err != nil:
		return nil, storeError(in.app, err)
	}
	return newConnectionPage([]connection.Summary{summary}, ""), nil
}

// show shows one connection.
func (a *Auth) show(r *http.Request, in admission, user string) (any, *apierror.Error) {
	summary, err := in.app.manager.Get(r.Context(), user)
	if err != nil {
		e := connectionError(in.app, user, err)
		in.app.addInstallLink(r.Context(), e, in.caller, user)
		return nil, e
	}
	return showConnection(summary), nil
}

// disconnect ends a connection. It goes on when the caller hangs up.
func (a *Auth) disconnect(r *http.Request, in admission, user string) *apierror.Error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), installTimeout)
	defer cancel()
	err := in.app.manager.Disconnect(ctx, user)
	switch {
	case err == nil:
		a.audit(ctx, "connection deleted", in, user)
		return nil
	case errors.Is(err, connection.ErrNotConnected), errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrCorrupt):
		return connectionError(in.app, user, err)
	}
	e := connectionError(in.app, user, err)
	e.Message = "HubSpot has not confirmed that the grant is revoked, so the connection is still there. Try again soon."
	if errors.Is(err, connection.ErrAppMisconfigured) {
		e.Message = "HubSpot refuses the app's own credentials, so the grant could not be revoked and the connection is still there. An operator has to look at client_id and client_secret."
	}
	return e
}

// storeError is for errors that are about no user in particular.
func storeError(app *hubApp, err error) *apierror.Error {
	e := apierror.Wrap(apierror.StoreUnavailable, "The connection store does not answer. Try again soon.", err)
	e.Context = map[string][]string{"app": {app.name}}
	return e
}

// audit writes down which caller did what about which user.
func (a *Auth) audit(ctx context.Context, what string, in admission, user string, more ...zap.Field) {
	fields := append([]zap.Field{
		zap.String("app", in.app.name), zap.String("caller", in.caller.Name()),
		zap.String("user_tag", in.app.manager.Tag(ctx, user)),
	}, more...)
	if scope := in.caller.Scope(); scope != nil {
		fields = append(fields, zap.String("token_id", scope.TokenID))
	}
	a.logger.Info(what, fields...)
}

func isMisconfigured(err error) bool {
	return hubspot.Classify(err) == hubspot.ClassMisconfigured
}
