package relay

import (
	"context"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// asAppPrefix is the path prefix of calls that the app makes for itself, with a
// token of its own: for no user, and on no portal.
const asAppPrefix = "/as-app/"

// asApp is what the header X-HubSpot-As says of such a call.
const asApp = "app"

// readAsApp finds out whether the call is one of the app itself, and returns
// what it asks for.
func (c *Call) readAsApp(t target) (target, error) {
	as, given, err := onlyValue(c.inbound.Header[headerAs], "X-HubSpot-As")
	if err != nil {
		return t, err
	}
	if given && as != asApp {
		return t, apierror.Badf("the header X-HubSpot-As has to be app, or be left out; it is %s", apierror.Quoted(as))
	}
	after, prefixed := strings.CutPrefix(t.path, asAppPrefix)
	c.asApp = given || prefixed
	if !prefixed {
		return t, nil
	}
	rest := t
	// A base URL that ends in a slash makes two of them.
	rest.path = "/" + strings.TrimPrefix(after, "/")
	if err := rest.check(); err != nil {
		return t, apierror.Bad(err)
	}
	c.prefix = strings.TrimSuffix(t.path, rest.path)
	return rest, nil
}

// checkAsApp refuses a path that goes to HubSpot and that some server would read
// as one with the prefix: a rule in front of the sidecar may have read it so, or
// not.
func (c *Call) checkAsApp() error {
	if !slices.ContainsFunc(c.readings, isAsApp) {
		return nil
	}
	return apierror.New(apierror.BadRequest,
		"The path can be read as one with the prefix /as-app/, and is not one. Begin it with /as-app/ to the letter, once, or send the header X-HubSpot-As: app.")
}

// isAsApp reports whether a reading of a path begins with the prefix, in any
// case.
func isAsApp(path string) bool {
	const segment = len(asAppPrefix) - 1
	return len(path) >= segment && strings.EqualFold(path[:segment], asAppPrefix[:segment]) &&
		strings.Trim(firstSegment(path[segment:]), ". ") == ""
}

// firstSegment returns a path up to its first slash.
func firstSegment(path string) string {
	segment, _, _ := strings.Cut(path, "/")
	return segment
}

// judgeAsApp checks whether the caller may make calls of the app itself. A right
// that is missing is not on trial.
func (c *Call) judgeAsApp() error {
	app := c.relay.App.Name
	if err := c.caller.CheckAppCalls(); err != nil {
		return admission.PolicyError(err)
	}
	return c.enforce(c.caller.CheckUser(app, ""))
}

// getAppToken finds the token of the app itself.
func (c *Call) getAppToken(wait context.Context) (err error) {
	c.token, err = c.relay.App.AppToken(wait)
	return err
}

// replaceAppToken finds another one after HubSpot has refused it. If there is
// none, the one in use stays.
func (c *Call) replaceAppToken(wait context.Context) error {
	token, err := c.relay.App.AppTokenRejected(wait, c.token)
	if err == nil {
		c.token = token
	}
	return err
}

// asAppHint is for a call that names no user and is none of the app.
func asAppHint(target target) string {
	if strings.HasPrefix(target.path, "/webhooks-journal/") {
		return " This endpoint takes a token of the app itself: begin the path with /as-app/, or send X-HubSpot-As: app."
	}
	return ""
}
