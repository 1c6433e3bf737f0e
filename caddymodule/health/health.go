// Package health has the module http.handlers.hubspot_health: liveness and
// readiness for probes that must not reach Caddy's admin API.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func init() {
	caddy.RegisterModule(Health{})
	httpcaddyfile.RegisterHandlerDirective("hubspot_health", parseHealth)
	// After what asks who the client is: a site that asks everybody asks
	// probes too.
	httpcaddyfile.RegisterDirectiveOrder("hubspot_health", httpcaddyfile.After, "forward_auth")
}

// Defaults of the settings.
const (
	defaultLive  = "/livez"
	defaultReady = "/readyz"
)

// freshness is for how long one check of the store answers all probes, so that
// whoever reaches the site cannot have the store asked at will.
const freshness = time.Second

// askTimeout bounds one check; stores have shorter ones of their own.
const askTimeout = 10 * time.Second

// Health answers the probes of Kubernetes, load balancers and monitors, on any
// site, and passes other requests on:
//
// Request | Answer
// --------|-------
// `GET /livez` | 200 as long as the process serves
// `GET /readyz` | 200 `{"ready":true}`, with `warnings` where an operator has to look; or 503 with the `reasons`
//
// Not ready are a store that cannot be used, tokens that only this process has,
// and an audit log that takes no lines. Known users are served all the same:
// see the documentation on reliability before a pod is restarted for it. While
// the site shuts down the reason is `stopping`; with Caddy's `shutdown_delay`
// load balancers see that before the end.
//
// The reasons name the store and its trouble, but no user and no secret. Probes
// leave no line in the access log. The store is asked at most once per second,
// however many probes there are.
type Health struct {
	// The path of liveness. Default: `/livez`.
	Live string `json:"live,omitempty"`

	// The path of readiness. Default: `/readyz`.
	Ready string `json:"ready,omitempty"`

	check *check
}

// CaddyModule returns the Caddy module information.
func (Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_health",
		New: func() caddy.Module { return new(Health) },
	}
}

// parseHealth makes the handler of the directive hubspot_health.
func parseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	health := new(Health)
	return health, health.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	hubspot_health [<matcher>] {
//	    live  <path>
//	    ready <path>
//	}
func (h *Health) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	directive := d.Token()
	if d.NextArg() {
		return d.Errf("hubspot_health: takes no argument but a matcher; %q is too much", d.Val())
	}
	err := settings.Block(d, "hubspot_health", map[string]settings.Setting{
		"live":  settings.Checked(settings.Text(&h.Live), func() error { return checkPath("live", h.Live) }),
		"ready": settings.Checked(settings.Text(&h.Ready), func() error { return checkPath("ready", h.Ready) }),
	})
	if err != nil {
		return err
	}
	if err := h.checkPaths(); err != nil {
		at := caddyfile.NewDispenser([]caddyfile.Token{directive})
		at.Next()
		return at.WrapErr(err)
	}
	return nil
}

// checkPath refuses paths at which no request arrives.
func checkPath(setting, path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#*{} ") || strings.Contains(path, "//") {
		return fmt.Errorf("hubspot_health: %s: %q is not a path such as %s", setting, path, defaultLive)
	}
	return nil
}

// checkPaths fills in the defaults of a copy and checks it.
func (h Health) checkPaths() error {
	h.fillIn()
	if err := checkPath("live", h.Live); err != nil {
		return err
	}
	if err := checkPath("ready", h.Ready); err != nil {
		return err
	}
	if h.Live == h.Ready {
		return fmt.Errorf("hubspot_health: live and ready are both %s; give each a path of its own", h.Live)
	}
	return nil
}

func (h *Health) fillIn() {
	if h.Live == "" {
		h.Live = defaultLive
	}
	if h.Ready == "" {
		h.Ready = defaultReady
	}
}

// Provision checks the settings and finds what is to be watched.
func (h *Health) Provision(ctx caddy.Context) error {
	if err := h.checkPaths(); err != nil {
		return err
	}
	h.fillIn()
	car, err := sidecar.Get(ctx)
	if err != nil {
		return err
	}
	h.check = &check{ask: car.Readiness, now: time.Now}
	return nil
}

// ServeHTTP answers the two paths.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path != h.Live && r.URL.Path != h.Ready {
		return next.ServeHTTP(w, r)
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	if r.URL.Path == h.Live {
		return answer(w, http.StatusOK, adminapi.Alive())
	}
	ready, err := h.readiness(r)
	if err != nil {
		return err
	}
	return answer(w, ready.StatusCode(), ready)
}

// readiness is what the sidecar says, unless the site is about to end: during a
// shutdown, or a reload that takes the site away.
func (h *Health) readiness(r *http.Request) (adminapi.Readiness, error) {
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if ending, _ := replacer.Get("http.shutting_down"); ending == true {
			return adminapi.Stopping(), nil
		}
	}
	return h.check.readiness(r.Context())
}

func answer(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

// check keeps the last answer for [freshness], and asks once for all who come
// while one is awaited. It is safe for concurrent use.
type check struct {
	ask func(context.Context) adminapi.Readiness
	now func() time.Time

	flight singleflight.Group
	last   atomic.Pointer[finding]
}

// finding is what was found at a time.
type finding struct {
	adminapi.Readiness
	at time.Time
}

// readiness fails with ctx's error only. One who gives up does not end the
// question for the others.
func (c *check) readiness(ctx context.Context) (adminapi.Readiness, error) {
	if f := c.last.Load(); f != nil && c.now().Sub(f.at) < freshness {
		return f.Readiness, nil
	}
	asked := c.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		f := &finding{Readiness: c.ask(ctx)}
		f.at = c.now()
		c.last.Store(f)
		return f, nil
	})
	select {
	case got := <-asked:
		return got.Val.(*finding).Readiness, nil
	case <-ctx.Done():
		return adminapi.Readiness{}, ctx.Err()
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
	_ caddyfile.Unmarshaler       = (*Health)(nil)
)
