package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

func init() {
	caddy.RegisterModule(Proxy{})
}

// Proxy decides whether a request may go to HubSpot, and for which user. It
// is followed, in the same route, by a `reverse_proxy` with the transport
// `hubspot`, which takes the request there with the user's access token. The
// Caddyfile directive `hubspot_proxy` makes both.
//
// The user is the one that the path prefix `/as/{user}/` names, or else the
// one of the setting `user`, or else the one of the user token with which the
// request came. `POST /raw/{app}` takes a whole call as a form
// or as JSON, with the fields `method`, `url`, `userForeignIdentifier`,
// `body` and `headers`, and answers `{"data": …}`; such a form or JSON can
// have 32 MiB, and HubSpot's answer 64 MiB.
//
// Requests beyond the app's quota for the user's HubSpot account wait for
// their turn, and are refused with 429 if that does not come in time. With
// the header `X-HubSpot-Max-Wait: 2s` a request waits no longer than that, and
// with `0` not at all. Requests with `X-HubSpot-Priority: batch` are overtaken
// by others, but keep a tenth of the quota. What HubSpot has not processed, or
// what only reads, is sent up to three times.
//
// Everything that this handler answers itself has HubSpot's error shape with
// `"category":"SIDECAR"`, and a `Proxy-Status` header with an `error`.
type Proxy struct {
	// The HubSpot app, as the global option `hubspot` names it. Required.
	App string `json:"app,omitempty"`

	// For which user (customer) a request is. Placeholders are replaced for
	// each request; a constant is for an install with one customer. If this
	// is the placeholder of a header, HubSpot does not get that header.
	// Default: `{http.request.header.X-HubSpot-User}`.
	User string `json:"user,omitempty"`

	// Let in requests of no known caller, from programs on this machine:
	// from loopback addresses and unix sockets, not from web pages of other
	// sites, and only if they ask for localhost, a loopback address or a
	// name of the site. A key that is given still has to be right. Without
	// this, at least one caller has to be configured.
	Open bool `json:"open,omitempty"`

	// The longest that a request waits here before it goes to HubSpot.
	// Default: `10s`.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	app   *App
	hub   *hubApp
	user  userSource
	api   apiAddress
	sites *siteNames
	// anyone is the caller of a request that `open` lets in.
	anyone    *access.Caller
	logger    *zap.Logger
	strangers *strangerLog
}

// defaultMaxWait is the setting max_wait if there is none.
const defaultMaxWait = 10 * time.Second

// CaddyModule returns the Caddy module information.
func (Proxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_proxy",
		New: func() caddy.Module { return new(Proxy) },
	}
}

// Provision finds the app and checks the settings.
func (p *Proxy) Provision(ctx caddy.Context) error {
	p.logger = ctx.Logger()
	var err error
	if p.app, err = hubspotApp(ctx); err != nil {
		return err
	}
	if p.App == "" {
		return errors.New("hubspot_proxy: app: name the HubSpot app")
	}
	hub, ok := p.app.app(p.App)
	if !ok {
		return fmt.Errorf("hubspot_proxy: app %q is not configured; there are: %s", p.App,
			strings.Join(slices.Sorted(maps.Keys(p.app.hubApps)), ", "))
	}
	p.hub = hub
	if p.user, err = newUserSource(p.User); err != nil {
		return fmt.Errorf("hubspot_proxy %s: user: %w", p.App, err)
	}
	if p.MaxWait < 0 {
		return fmt.Errorf("hubspot_proxy %s: max_wait: must not be negative", p.App)
	}
	if p.MaxWait == 0 {
		p.MaxWait = caddy.Duration(defaultMaxWait)
	}
	if p.app.callers == nil && !p.Open {
		return fmt.Errorf("hubspot_proxy %s: nobody could call: name a caller with its key in the global option hubspot, or say open to serve programs on this machine without keys", p.App)
	}
	p.app.notePeers(ctx)
	p.anyone = access.Open()
	p.sites = new(siteNames)
	p.strangers = newStrangerLog()
	p.api, err = newAPIAddress(hub.endpoints.WithDefaults().API)
	return err
}

// apiAddress is where HubSpot's API is.
type apiAddress struct {
	// base is scheme://host[:port] in lower case.
	base         string
	scheme, host string
}

func newAPIAddress(raw string) (apiAddress, error) {
	u, err := url.Parse(strings.ToLower(raw))
	if err != nil || u.Host == "" {
		return apiAddress{}, fmt.Errorf("endpoints: api %q: must be scheme://host", raw)
	}
	return apiAddress{base: u.Scheme + "://" + u.Host, scheme: u.Scheme, host: u.Host}, nil
}

// ServeHTTP answers a request that may not go to HubSpot, and passes on one
// that may.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := &call{proxy: p, since: time.Now()}
	c.guard.call = c
	c.writer.init(c, w, r)
	c.joinAccessLog(r)
	defer c.count()
	defer c.audit(r)
	out, answer, err := p.admit(c, r)
	if err != nil {
		return c.refuse(r, err)
	}
	err = next.ServeHTTP(answer, out)
	if err == nil {
		err = answer.finish()
	}
	if err == nil {
		return nil
	}
	return c.refuseAfter(r, err)
}

// answerWriter takes HubSpot's answer.
type answerWriter interface {
	http.ResponseWriter
	// finish completes the answer. Nothing is written after it.
	finish() error
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Proxy)(nil)
	_ caddyhttp.MiddlewareHandler = (*Proxy)(nil)
)
