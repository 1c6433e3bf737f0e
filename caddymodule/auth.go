package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
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

	// How many requests one client address may make of the endpoints for
	// browsers and HubSpot's redirects. The client address is that of Caddy,
	// `trusted_proxies` regarded; IPv6 clients count by /64. A proxy that
	// appends to the `X-Forwarded-For` of its clients needs
	// `trusted_proxies_strict`, or they could choose their address.
	// Default: `30 1m`.
	Rate appconfig.Rate `json:"rate,omitzero"`

	app      *App
	base     basePath
	sessions bool
	user     userSource
	// signIn is nil if the setting is not there.
	signIn    *url.URL
	returnTo  returnList
	callbacks callbacks
	limiter   *clientLimiter
	logger    *zap.Logger
	strangers *strangerLog
}

// defaultAuthRate is the setting rate if there is none.
var defaultAuthRate = appconfig.Rate{Count: 30, Per: time.Minute}

// CaddyModule returns the Caddy module information.
func (Auth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_auth",
		New: func() caddy.Module { return new(Auth) },
	}
}

// Provision checks the settings and finds the apps.
func (a *Auth) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if err := a.provisionSettings(caddy.NewReplacer()); err != nil {
		return fmt.Errorf("hubspot_auth: %w", err)
	}
	app, err := hubspotApp(ctx)
	if err != nil {
		return err
	}
	a.app = app
	app.notePeers(ctx)
	var apps []*hubApp
	for _, name := range slices.Sorted(maps.Keys(app.hubApps)) {
		apps = append(apps, app.hubApps[name])
	}
	if a.callbacks, err = newCallbacks(a.base, apps); err != nil {
		return fmt.Errorf("hubspot_auth: %w", err)
	}
	return nil
}

// provisionSettings reads the module's own settings.
func (a *Auth) provisionSettings(repl *caddy.Replacer) (err error) {
	if a.base, err = parseBasePath(a.BasePath); err != nil {
		return err
	}
	if a.User != "" {
		a.sessions = true
		if a.user, err = newUserSource(a.User); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	if err := a.provisionAddresses(repl); err != nil {
		return err
	}
	rate := a.Rate.Or(defaultAuthRate)
	a.limiter = newClientLimiter(rate.Count, rate.Per)
	a.strangers = newStrangerLog()
	return nil
}

func (a *Auth) provisionAddresses(repl *caddy.Replacer) error {
	if a.SignIn != "" {
		text, err := repl.ReplaceOrErr(a.SignIn, true, true)
		if err != nil {
			return fmt.Errorf("sign_in: %w", err)
		}
		if a.signIn, err = parseSignIn(text); err != nil {
			return fmt.Errorf("sign_in %q: %w", text, err)
		}
		if !a.sessions {
			return errors.New("sign_in: needs the setting user, which says who has signed in")
		}
	}
	patterns := make([]string, 0, len(a.ReturnTo))
	for _, pattern := range a.ReturnTo {
		text, err := repl.ReplaceOrErr(pattern, true, true)
		if err != nil {
			return fmt.Errorf("return_to: %w", err)
		}
		patterns = append(patterns, text)
	}
	var err error
	a.returnTo, err = newReturnList(patterns)
	return err
}

// ServeHTTP answers the handler's own paths.
func (a *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if t, ok := a.callbacks.find(r); ok {
		a.serveCallback(w, r, t)
		return nil
	}
	path := a.base.find(r.URL)
	switch path.endpoint {
	case endpointNone:
		return next.ServeHTTP(w, r)
	case endpointConnect:
		app, ok := a.app.app(path.app)
		if !ok {
			return next.ServeHTTP(w, r)
		}
		a.serveConnect(w, r, app)
	default:
		a.serveAPI(w, r, path)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Auth)(nil)
	_ caddyhttp.MiddlewareHandler = (*Auth)(nil)
)
