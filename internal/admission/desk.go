// Package admission decides at the front desk: who calls, whether that caller
// may do what it asks for, and whether an operator has frozen it. What it
// refuses is an [apierror.Error]. It knows nothing of what is asked for after
// that; see packages relay and callerapi.
package admission

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// Config is what a [Desk] goes by.
type Config struct {
	// Apps are the configured apps. Their names are in lower case.
	Apps []*hubapp.App
	// Callers is nil if no caller is configured.
	Callers *access.Registry
	// JWTs is nil if no caller is known by JWTs.
	JWTs *jwtauth.Verifier
	// Freezes is required.
	Freezes *freeze.Keeper
	// Metrics is required.
	Metrics *metrics.Metrics
	// Logger is told what a policy on trial would have refused. Required.
	Logger *slog.Logger
	// Now is the clock by which user tokens expire; nil is time.Now.
	Now func() time.Time
}

// Desk decides who is let in. It is safe for concurrent use.
type Desk struct {
	apps map[string]*hubapp.App
	// tagged has the apps by the marks of their user tokens.
	tagged  map[sealing.Tag]*hubapp.App
	callers *access.Registry
	jwts    *jwtauth.Verifier
	freezes *freeze.Keeper
	metrics *metrics.Metrics
	logger  *slog.Logger
	now     func() time.Time
	opened  openedTokens
	lookups lookupBudget
}

// NewDesk makes a Desk.
func NewDesk(c Config) *Desk {
	d := &Desk{
		apps:    make(map[string]*hubapp.App, len(c.Apps)),
		tagged:  make(map[sealing.Tag]*hubapp.App, len(c.Apps)),
		callers: c.Callers, jwts: c.JWTs, freezes: c.Freezes, metrics: c.Metrics, logger: c.Logger, now: c.Now,
	}
	if d.now == nil {
		d.now = time.Now
	}
	for _, app := range c.Apps {
		d.apps[app.Name] = app
		d.tagged[usertoken.Tag(app.Name)] = app
	}
	return d
}

// App returns the configured app of that name, in any case.
func (d *Desk) App(name string) (*hubapp.App, bool) {
	app, ok := d.apps[strings.ToLower(name)]
	return app, ok
}

// HasCallers reports whether any caller is configured.
func (d *Desk) HasCallers() bool { return d.callers != nil }

// Now is the time by the desk's clock.
func (d *Desk) Now() time.Time { return d.now() }

// Authenticate finds the caller of a request: by its Authorization header if
// there is one, which then has to be right, or else by its certificate or its
// peer. The error is an [*apierror.Error].
func (d *Desk) Authenticate(r *http.Request) (*access.Caller, error) {
	if d.callers == nil {
		return nil, apierror.New(apierror.CallerForbidden,
			"No caller is configured, so nobody can be let in here: name one, with its key, in the global option hubspot.")
	}
	if token, ok := access.UserToken(r.Header); ok {
		return d.authenticateToken(r.Context(), token)
	}
	caller, err := d.callers.Authenticate(r.Header)
	switch {
	case err == nil:
		return caller, nil
	case errors.Is(err, access.ErrNoCredentials):
		if caller, err := d.Recognize(r); caller != nil || err != nil {
			return caller, err
		}
		return nil, apierror.Wrap(apierror.CallerUnauthenticated,
			"No caller key was given. Send it as Authorization: Bearer <key>; in an SDK, as the access token."+d.unrecognized(r), err)
	case errors.Is(err, access.ErrUnknownKey):
		if token, ok := bearerJWT(r.Header); ok && d.jwts != nil {
			return d.authenticateJWT(r.Context(), token)
		}
		return nil, apierror.Wrap(apierror.CallerUnauthenticated,
			"The caller key is not known here. It is the key of a caller in the sidecar's configuration, not a HubSpot token.", err)
	}
	return nil, apierror.Wrap(apierror.CallerUnauthenticated,
		"The Authorization header has to be Bearer <key> or Basic base64(caller:key), once.", err)
}
