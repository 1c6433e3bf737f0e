package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// standIn is the account-level connection that serves a call at an endpoint
// which takes no user-level tokens. The zero value is none.
type standIn struct {
	app  *hubapp.App
	user string
	// outcome is empty unless HubSpot has refused the call for its token's
	// kind: what came of the search for a stand-in.
	outcome string
}

// What came of the search for a stand-in.
const (
	standInServed      = "served"
	standInNone        = "none" // no fallback_app
	standInNotAllowed  = "not_allowed"
	standInBody        = "body_not_kept"
	standInTries       = "tries_used_up"
	standInMissing     = "not_connected"
	standInReauth      = "reauth_required"
	standInFrozen      = "frozen"
	standInLimited     = "rate_limited"
	standInUnavailable = "unavailable"
)

// serving is whose token goes along: that of the call's user, or of the stand-in.
func (c *Call) serving() (app *hubapp.App, user string) {
	if c.standIn.app != nil {
		return c.standIn.app, c.standIn.user
	}
	return c.relay.App, c.user
}

// refusesKind reports whether HubSpot has refused a try because the token is a
// user-level one. The body of the answer is as it was afterwards.
func (c *Call) refusesKind(got try) bool {
	if got.res == nil || got.res.StatusCode != http.StatusForbidden || c.asApp || c.standIn.outcome != "" {
		return false
	}
	text, _ := decodeContent(got.res.Header, holdBody(got.res))
	return hubspot.RefusesUserLevel(got.res.StatusCode, text)
}

// replace finds an account-level connection of the same portal for a call that
// was refused for the kind of its token, with a place in that app's quota. If
// there is none, HubSpot's answer stands.
func (c *Call) replace(ctx context.Context) (body io.ReadCloser, ticket quota.Ticket, ok bool) {
	before := c.token
	body, ticket, outcome := c.findStandIn(ctx)
	if outcome != standInServed {
		c.token, c.standIn = before, standIn{}
	}
	c.standIn.outcome = outcome
	c.relay.Metrics.UserLevelRefused(c.relay.App.Name, outcome)
	c.logStandIn(ctx)
	return body, ticket, outcome == standInServed
}

func (c *Call) findStandIn(ctx context.Context) (body io.ReadCloser, ticket quota.Ticket, outcome string) {
	name := c.relay.App.Settings.FallbackApp
	app, ok := c.relay.Desk.App(name)
	if name == "" || !ok {
		return nil, ticket, standInNone
	}
	if !c.caller.MayApp(app.Name) || c.caller.CheckUser(app.Name, "") != nil {
		return nil, ticket, standInNotAllowed
	}
	if body, ok = c.body.again(true); !ok {
		return nil, ticket, standInBody
	}
	if c.tries >= maxTries {
		return nil, ticket, standInTries
	}
	wait := c.patience(ctx)
	defer wait.end()
	user, err := c.mostRecent(wait, app)
	if err == nil {
		c.standIn.app, c.standIn.user = app, user
		err = c.checkStandInFrozen(wait)
	}
	if err == nil {
		c.token, err = app.Manager.Token(wait, user)
	}
	if err == nil {
		ticket, err = c.takePlace(ctx)
	}
	return body, ticket, standInOutcome(err)
}

// mostRecent is the user of an app, of those who are connected to the call's
// account and whom the caller may act for, whose connection was used last. A
// policy on trial lets pass what was asked for; nobody has asked for this.
func (c *Call) mostRecent(ctx context.Context, app *hubapp.App) (string, error) {
	users, err := app.PortalUsers.Users(ctx, c.token.HubID)
	if err != nil {
		return "", err
	}
	mayNot := func(user string) bool { return c.caller.CheckUser(app.Name, user) != nil }
	return app.Manager.MostRecent(slices.DeleteFunc(slices.Clone(users), mayNot))
}

func standInOutcome(err error) string {
	own, _ := errors.AsType[*apierror.Error](err)
	switch {
	case err == nil:
		return standInServed
	case errors.Is(err, connection.ErrNotConnected):
		return standInMissing
	case errors.Is(err, connection.ErrReauthRequired):
		return standInReauth
	case admission.IsFrozen(err):
		return standInFrozen
	case own != nil && own.SubCategory == apierror.RateLimited:
		return standInLimited
	}
	return standInUnavailable
}

// checkStandInFrozen refuses a call whose stand-in an operator has frozen.
func (c *Call) checkStandInFrozen(ctx context.Context) error {
	if c.standIn.app == nil {
		return nil
	}
	return c.relay.Desk.CheckFrozen(ctx, freeze.Call{
		App: c.standIn.app.Name, User: c.standIn.user, Caller: c.callerName(), Writes: c.mayChange(),
	})
}

// servedBy is the app whose connection has served the call instead of the user's
// own; empty for none.
func (c *Call) servedBy() string {
	if c.standIn.app == nil {
		return ""
	}
	return c.standIn.app.Name
}

// detail is what Proxy-Status says of a call that was refused for the kind of
// its token.
func (s standIn) detail() string {
	switch s.outcome {
	case "":
		return ""
	case standInServed:
		return "; served_by=" + s.app.Name
	case standInNone:
		return "; user_level_refused"
	}
	return "; user_level_refused; fallback=" + s.outcome
}

// logStandIn says which connection would do.
func (c *Call) logStandIn(ctx context.Context) {
	level, lowered := c.relay.logs.Level(c.callerName(), slog.LevelInfo)
	if !c.relay.Logger.Enabled(ctx, level) {
		return
	}
	fields := []slog.Attr{
		slog.String("app", c.relay.App.Name), slog.String("caller", c.callerName()),
		slog.String("user_tag", c.relay.App.LogTag(ctx, c.user)), slog.Int64("hub_id", c.token.HubID),
		slog.String("method", audit.Method(c.method)), slog.String("path", audit.Template(c.target.path)),
		slog.String("fallback_app", c.relay.App.Settings.FallbackApp), slog.String("fallback", c.standIn.outcome),
	}
	if lowered > 0 {
		fields = append(fields, slog.Int64("lowered", lowered))
	}
	c.relay.Logger.LogAttrs(ctx, level,
		"HubSpot refuses user-level tokens at this endpoint; an account-level connection of the same HubSpot account would do", fields...)
}
