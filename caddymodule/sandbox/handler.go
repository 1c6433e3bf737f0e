// Package sandbox is the module http.handlers.hubspot_sandbox: a made-up HubSpot
// to develop and test against.
package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// maxContacts is the most that is made up for an account: some 150 MB.
const maxContacts = 100_000

func init() {
	caddy.RegisterModule(Sandbox{})
	httpcaddyfile.RegisterHandlerDirective("hubspot_sandbox", parseSandbox)
	httpcaddyfile.RegisterDirectiveOrder("hubspot_sandbox", httpcaddyfile.Before, "respond")
}

// Sandbox is a made-up HubSpot to develop and test against: consent page,
// token endpoint, and contacts, companies and deals. It keeps its data in
// memory, answers programs on this machine only, and is not for production.
//
// It serves a whole host name or port, since HubSpot's paths cannot be moved
// below another.
type Sandbox struct {
	// The HubSpot apps that the sandbox knows, by name. Default: those of
	// the global option `hubspot`, as they are when the config is loaded, or,
	// if there are none, a demo app.
	Apps map[string]*appconfig.App `json:"apps,omitempty"`

	// A file that keeps what is installed over a restart, refresh tokens
	// included. It is made when it is missing, readable by its owner only.
	// Placeholders are expanded when the config is loaded.
	// Default: none; everything is in memory.
	State string `json:"state,omitempty"`

	// How many contacts are made up for each account, with a fifth as many
	// companies and half as many deals: 1 to 100,000. Default: 300.
	Contacts int `json:"contacts,omitempty"`

	// Where the apps are told of what changes in the CRM of the accounts that
	// they are installed in, signed as HubSpot does: the address of a
	// `hubspot_webhook`. Placeholders are expanded when the config is loaded.
	// Default: nowhere, until `POST /_sandbox/webhooks` says where.
	Webhooks string `json:"webhooks,omitempty"`

	pooled  *pooledSandbox
	release func()
}

// CaddyModule returns the Caddy module information.
func (Sandbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_sandbox",
		New: func() caddy.Module { return new(Sandbox) },
	}
}

// parseSandbox makes the handler of the directive hubspot_sandbox.
func parseSandbox(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Sandbox)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	hubspot_sandbox [<matcher>] {
//	    app <name> {
//	        …
//	    }
//	    state    <file>
//	    contacts <number>
//	    webhooks <url>
//	}
//
// app may be given more than once and takes what it takes in the global
// option hubspot.
func (s *Sandbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.Err("hubspot_sandbox: takes no value, but may have a block of settings")
	}
	return settings.Block(d, "hubspot_sandbox", map[string]settings.Setting{
		"app":      settings.Apps(&s.Apps),
		"state":    settings.Text(&s.State),
		"contacts": settings.Number(&s.Contacts, 1, maxContacts),
		"webhooks": settings.Text(&s.Webhooks),
	})
}

// Provision takes the sandbox that an earlier config made with the same apps,
// or makes it.
func (s *Sandbox) Provision(ctx caddy.Context) error {
	apps, err := s.apps(ctx)
	if err != nil {
		return err
	}
	e := settings.NewExpander()
	if s.Contacts < 0 || s.Contacts > maxContacts {
		return fmt.Errorf("contacts: %d is not a number from 1 to %d", s.Contacts, maxContacts)
	}
	shape := poolSettings{
		Apps: apps, State: e.Text("state", s.State), Contacts: s.Contacts, Webhooks: e.Text("webhooks", s.Webhooks),
	}
	if err := e.Err(); err != nil {
		return err
	}
	pooled, release, err := pool.Acquire(pool.KeyOf("sandbox", shape), func() (*pooledSandbox, error) { return newPooledSandbox(shape) })
	if err != nil {
		return err
	}
	detach := pooled.logs.Attach(ctx.Slogger().Handler())
	s.pooled, s.release = pooled, func() { detach(); release() }
	return nil
}

// Cleanup gives the sandbox back.
func (s *Sandbox) Cleanup() error {
	if s.release != nil {
		s.release()
	}
	return nil
}

// ServeHTTP answers every request as HubSpot would.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	s.pooled.handler.ServeHTTP(w, r)
	return nil
}

// apps returns the apps that the sandbox is to know; none for the demo app.
func (s *Sandbox) apps(ctx caddy.Context) ([]sandbox.App, error) {
	if len(s.Apps) > 0 {
		named := make([]appconfig.NamedApp, 0, len(s.Apps))
		for _, name := range slices.Sorted(maps.Keys(s.Apps)) {
			if s.Apps[name] == nil {
				return nil, fmt.Errorf("app %q: has no settings", name)
			}
			named = append(named, appconfig.NamedApp{Name: name, App: *s.Apps[name]})
		}
		resolved, err := appconfig.ExpandAll(named, settings.Expand)
		if err != nil {
			return nil, err
		}
		return sandbox.Register(resolved)
	}
	if _, err := ctx.AppIfConfigured("hubspot"); errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	}
	side, err := sidecar.Get(ctx)
	if err != nil {
		return nil, err
	}
	resolved := make([]appconfig.Resolved, 0, len(side.Apps()))
	for _, app := range side.Apps() {
		resolved = append(resolved, app.Settings)
	}
	return sandbox.Register(resolved)
}

// pooledSandbox is a sandbox that keeps its state while configs change.
type pooledSandbox struct {
	handler *sandbox.Sandbox
	logs    pool.Newest[slog.Handler]
}

func newPooledSandbox(shape poolSettings) (*pooledSandbox, error) {
	p := new(pooledSandbox)
	portals := sandbox.DemoPortals()
	for i := range portals {
		portals[i].Contacts = shape.Contacts
	}
	var err error
	p.handler, err = sandbox.New(sandbox.Options{
		Apps: shape.Apps, Portals: portals, StateFile: shape.State, WebhooksURL: shape.Webhooks,
		Logger: slog.New(pool.Handler(&p.logs)),
	})
	return p, err
}

// poolSettings is everything that shapes a sandbox: what its apps are registered
// with, where it keeps them, and how much data there is. Its key is made of it.
type poolSettings struct {
	Apps     []sandbox.App
	State    string
	Contacts int
	Webhooks string
}

// Destruct forgets the sandbox and the webhooks that it was to send.
func (p *pooledSandbox) Destruct() error {
	p.handler.Close()
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Sandbox)(nil)
	_ caddy.CleanerUpper          = (*Sandbox)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sandbox)(nil)
	_ caddyfile.Unmarshaler       = (*Sandbox)(nil)
)
