// Package auth has the module http.handlers.hubspot_auth: its settings and its
// place in Caddy. What it answers is made in packages install and callerapi.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
)

func init() {
	caddy.RegisterModule(Auth{})
}

// Auth connects users to HubSpot apps. It answers its own paths, for all apps
// of the global option `hubspot`, and passes other requests on:
//
// Request | Who may | Answer
// --------|---------|-------
// `GET <base>/auth/{app}?userForeignIdentifier=<id>` | a caller | an install link, as JSON; also `return_to`, and `allow_portal_change=true`
// `GET <base>/{app}/connect` | a browser whose session gives `user` | a redirect to HubSpot; also `return_to`
// `GET` at the path of an app's `redirect_uri` | HubSpot's redirects | the end of the install, and HubSpot's partner sign-in flow
// `GET <base>/connections/{app}` | a caller | the app's connections, in pages of `limit`, from the cursor `after`
// `GET`, `DELETE <base>/connections/{app}/{user}` | a caller | one connection; or its end
// `POST <base>/tokens/{app}` | a caller with a key | a token for one user
//
// Callers are those of the global option `hubspot`; without any, only
// browsers can start an install. Names of apps compare without regard to
// case; the user in a path is percent-encoded, slashes too.
//
// A browser whose install is over goes to the install's `return_to`, with
// `hubspot=connected&app=<app>`, or with `hubspot=failed&app=<app>` and a
// `reason`: `denied`, `bad_code`, `expired`, `used`, `other_browser`,
// `portal_change`, `app_misconfigured`, `hubspot_unavailable` or
// `store_unavailable`. Without a `return_to` it gets a page. Each install that
// failed is also the event `hubspot_install_failed`, with `app` and `reason`.
//
// A user token is sent like a caller's key, `Authorization: Bearer`, and may
// do what its issuer may at that time, but for one app and one user only. The
// request is JSON or a form of at most 16 KiB, with `userForeignIdentifier`,
// and optionally `expiresIn`, in seconds, at most and by default 3600, and
// the lists `allow` and `deny` of rules as callers have them. A token with
// rules is for calls to HubSpot, and of these endpoints only reads its user's
// connection; one without cannot issue tokens or change the HubSpot account.
type Auth struct {
	// The path below which the endpoints are, but for the callbacks: these
	// are at the path of each app's `redirect_uri`. Default: `/hubspot`.
	BasePath string `json:"base_path,omitempty"`

	// The user (customer) that a browser's session belongs to, such as
	// `{http.auth.user.id}`. Placeholders are replaced for each request; one
	// that is unknown or empty is a browser without a session. It must be
	// something that the browser cannot choose; a constant is for an install
	// with one customer, and lets every browser connect as that customer.
	// Without this setting, browsers cannot start an install.
	User string `json:"user,omitempty"`

	// Where a browser without a session is sent, with the parameter
	// `return_to` to come back with afterwards. Without this setting it gets
	// a page that says how to start. Placeholders are expanded when the
	// config is loaded.
	SignIn string `json:"sign_in,omitempty"`

	// Where a browser may be sent after an install: addresses in which `*`
	// stands for any run of characters, such as
	// `https://app.example.com/*`. Scheme, host and port are compared on
	// their own, so that no path or query can pass for a host. Placeholders
	// are expanded when the config is loaded. Default: nowhere.
	ReturnTo []string `json:"return_to,omitempty"`

	// Whether only what browsers need is served: the start of an install, and
	// HubSpot's redirects. The endpoints for callers are passed on like any
	// other path. It is for a site that the internet reaches; callers then
	// have a site of their own, with a `hubspot_auth` of its own.
	Browsers bool `json:"browsers,omitempty"`

	// How many requests one client address may make of the endpoints for
	// browsers and HubSpot's redirects. The client address is that of Caddy,
	// `trusted_proxies` regarded; IPv6 clients count by /64. A proxy that
	// appends to the `X-Forwarded-For` of its clients needs
	// `trusted_proxies_strict`, or they could choose their address.
	// Default: `30 1m`.
	Rate appconfig.Rate `json:"rate,omitzero"`

	endpoints *atomic.Pointer[endpoints]
}

// endpoints answer what is asked of the handler.
type endpoints struct {
	installer *install.Installer
	// callers is nil where only browsers are served.
	callers *callerapi.API
}

// CaddyModule returns the Caddy module information.
func (Auth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_auth",
		New: func() caddy.Module { return new(Auth) },
	}
}

// Provision checks the settings and finds the apps.
func (a *Auth) Provision(ctx caddy.Context) error {
	config, err := a.config()
	if err != nil {
		return fmt.Errorf("hubspot_auth: %w", err)
	}
	car, err := sidecar.Get(ctx)
	if err != nil {
		return err
	}
	car.NotePeers(ctx)
	config.Logger, config.Failed = ctx.Slogger(), car.InstallFailed
	config.ClientIP, config.OriginalURL, config.SkipAccessLog = clientIP, originalURL, skipAccessLog
	a.endpoints, err = sidecar.Follow(car, func(g *sidecar.Generation) (*endpoints, error) {
		made, err := a.newEndpoints(config, car.Audit(), g)
		if err != nil {
			return nil, fmt.Errorf("hubspot_auth: %w", err)
		}
		return made, nil
	})
	return err
}

// newEndpoints makes the endpoints for a generation of the Sidecar's settings.
func (a *Auth) newEndpoints(config install.Config, log *audit.Log, g *sidecar.Generation) (*endpoints, error) {
	config.Desk, config.Apps, config.Audit = g.Desk(), g.Apps(), log
	installer, err := install.New(config)
	if err != nil {
		return nil, err
	}
	made := &endpoints{installer: installer}
	if !a.Browsers {
		made.callers = callerapi.New(callerapi.Config{
			Desk: config.Desk, Base: config.Base, ReturnTo: config.ReturnTo, Pages: installer, Audit: log, Logger: config.Logger,
		})
	}
	return made, nil
}

// config makes what the module's own settings say.
func (a *Auth) config() (c install.Config, err error) {
	c.Rate = a.Rate
	if c.Base, err = install.ParseBase(a.BasePath); err != nil {
		return c, err
	}
	if a.User != "" {
		if c.User, err = settings.UserSource(a.User); err != nil {
			return c, fmt.Errorf("user: %w", err)
		}
	}
	if a.SignIn != "" {
		text, err := settings.Expand(a.SignIn)
		if err != nil {
			return c, fmt.Errorf("sign_in: %w", err)
		}
		if c.SignIn, err = install.ParseSignIn(text); err != nil {
			return c, fmt.Errorf("sign_in %q: %w", text, err)
		}
		if a.User == "" {
			return c, errSignInAlone
		}
	}
	patterns := make([]string, 0, len(a.ReturnTo))
	for _, pattern := range a.ReturnTo {
		text, err := settings.Expand(pattern)
		if err != nil {
			return c, fmt.Errorf("return_to: %w", err)
		}
		patterns = append(patterns, text)
	}
	c.ReturnTo, err = install.ParseReturnList(patterns)
	return c, err
}

// errSignInAlone is a sign-in page from which nobody can come back signed in.
var errSignInAlone = errors.New("sign_in: needs the setting user, which says who has signed in")

// ServeHTTP answers the handler's own paths.
func (a *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	e := a.endpoints.Load()
	if e.installer.Handle(w, r) || e.callers != nil && e.callers.Handle(w, r) {
		return nil
	}
	return next.ServeHTTP(w, r)
}

// clientIP is the address that Caddy takes for the client's, trusted proxies
// regarded; none for a request of a unix socket.
func clientIP(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, _ := netip.ParseAddr(text)
	return address
}

// originalURL is the URL as the client sent it, before any rewriting.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

func skipAccessLog(r *http.Request) {
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Auth)(nil)
	_ caddyhttp.MiddlewareHandler = (*Auth)(nil)
)
