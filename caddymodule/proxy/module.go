// Package proxy has the handler and directive hubspot_proxy: its settings, and
// what of Caddy a relay needs to know. See package relay for what it does.
package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

func init() {
	caddy.RegisterModule(Proxy{})
}

// Proxy takes requests to HubSpot's API, with the access token of the user they
// are for, and brings the answers back.
//
// The user is the one that the path prefix `/as/{user}/` names, the setting
// `user`, or the user token with which the request came; where several name
// one, they have to agree. `POST /raw/{app}` takes a whole call as a form or as
// JSON, with the fields `method`, `url`, `userForeignIdentifier`, `body` and
// `headers`, and answers `{"data": …}`; such a form or JSON can have 32 MiB.
//
// Requests beyond the app's quota for the user's HubSpot account wait for
// their turn, and are refused with 429 if that does not come in time. With
// the header `X-HubSpot-Max-Wait: 2s` a request waits no longer than that, and
// with `0` not at all. Requests with `X-HubSpot-Priority: batch` are overtaken
// by others, but keep a tenth of the quota. What HubSpot has not processed, or
// what only reads, is sent up to three times.
//
// Everything that this handler answers itself has HubSpot's error shape with
// `"category":"SIDECAR"`, and a `Proxy-Status` header with an `error`. Should
// HubSpot send the access token back, in a header, a trailer or a body, the
// field is removed or the token replaced by asterisks; for that, requests to
// paths that smell of credentials, such as `/…/tokens`, ask for no other codings
// than gzip and deflate.
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

	// Ask no other host than the API's. Without this, a call that HubSpot
	// answers with 488, because the account is in another of its data centres
	// than the token says, is sent once more to that one's host, such as
	// api-eu1.hubapi.com, and the host is remembered for the user.
	OneHost bool `json:"one_host,omitempty"`

	// Say in answers when HubSpot ends the endpoint that was called, if that is
	// less than a year ahead or past: `Deprecation` (RFC 9745) with the day,
	// `Sunset` (RFC 8594) where calls will fail, and a `Link` to HubSpot's page.
	// Headers that HubSpot sends itself stay. Such calls are counted and shown
	// by `caddy hubspot status` without this, too.
	DeprecationHeaders bool `json:"deprecation_headers,omitempty"`

	// The settings of Caddy's HTTP transport, which makes the connections to
	// HubSpot. `compression`, `proxy_protocol`, the versions `3` and `h2c`, and
	// the TLS settings `insecure_skip_verify`, `server_name` and `except_ports`
	// cannot be used. See [Transport] for the defaults that differ.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	relay     *atomic.Pointer[relay.Relay]
	transport *reverseproxy.HTTPTransport
}

// CaddyModule returns the Caddy module information.
func (Proxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_proxy",
		New: func() caddy.Module { return new(Proxy) },
	}
}

// Provision finds the app, checks the settings and makes the connection pool.
func (p *Proxy) Provision(ctx caddy.Context) error {
	hub, err := sidecar.Get(ctx)
	if err != nil {
		return err
	}
	if p.App == "" {
		return errors.New("hubspot_proxy: app: name the HubSpot app")
	}
	return p.provision(ctx, hub)
}

func (p *Proxy) provision(ctx caddy.Context, hub *sidecar.Sidecar) error {
	user, err := settings.UserSource(p.User)
	if err != nil {
		return fmt.Errorf("hubspot_proxy %s: user: %w", p.App, err)
	}
	if p.MaxWait < 0 {
		return fmt.Errorf("hubspot_proxy %s: max_wait: must not be negative", p.App)
	}
	if p.transport, err = provisionTransport(ctx, p.TransportRaw); err != nil {
		return fmt.Errorf("hubspot_proxy %s: transport: %w", p.App, err)
	}
	hub.NotePeers(ctx)
	warnOfServer(ctx)
	config := relay.Config{
		Metrics: hub.Metrics(), Audit: hub.Audit(), Budget: hub.Budget(), Logger: ctx.Slogger(),
		User: user, Open: p.Open, OwnName: new(siteNames).has, MaxWait: time.Duration(p.MaxWait), OneHost: p.OneHost,
		DeprecationHeaders: p.DeprecationHeaders,
		Transport:          p.transport.Transport, Foreign: isHandlerError,
	}
	p.relay, err = sidecar.Follow(hub, func(g *sidecar.Generation) (*relay.Relay, error) {
		made, err := newRelay(config, p.App, g)
		if err != nil {
			return nil, fmt.Errorf("hubspot_proxy %s: %w", p.App, err)
		}
		return made, nil
	})
	return err
}

// newRelay makes the relay of an app for a generation of the Sidecar's settings.
func newRelay(config relay.Config, name string, g *sidecar.Generation) (*relay.Relay, error) {
	app, ok := g.App(name)
	if !ok {
		var names []string
		for _, app := range g.Apps() {
			names = append(names, app.Name)
		}
		return nil, fmt.Errorf("the app is not configured; there are: %s", strings.Join(names, ", "))
	}
	if !config.Open && !g.Desk().HasCallers() {
		return nil, errors.New("nobody could call: name a caller with its key in the global option hubspot, or say open to serve programs on this machine without keys")
	}
	config.App, config.Desk = app, g.Desk()
	return relay.New(config)
}

// Cleanup closes connections that are idle. Requests that still run finish.
func (p *Proxy) Cleanup() error {
	if p.transport == nil {
		return nil
	}
	return p.transport.Cleanup()
}

// isHandlerError reports whether an error says with what status another handler
// answers it, as that of the directive request_body does.
func isHandlerError(err error) bool {
	_, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok
}

// statusClientGone is what Caddy's access log has for a client that has hung
// up.
const statusClientGone = 499

// ServeHTTP answers every request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	call := p.relay.Load().NewCall(w, r, sentURI(r))
	joinAccessLog(r, call)
	err := call.Serve()
	if errors.Is(err, relay.ErrClientGone) {
		return caddyhttp.Error(statusClientGone, err)
	}
	return err
}

// sentURI is the target of a request as the client sent it, before handlers
// such as handle_path have changed the URL.
func sentURI(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.RequestURI
	}
	return r.RequestURI
}

// joinAccessLog adds the call to the line of the access log, if there is one.
func joinAccessLog(r *http.Request, call *relay.Call) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("hubspot", accessLog{call}))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Proxy)(nil)
	_ caddy.CleanerUpper          = (*Proxy)(nil)
	_ caddyhttp.MiddlewareHandler = (*Proxy)(nil)
)
