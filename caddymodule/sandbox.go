package caddymodule

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

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
	// the global option `hubspot`, or, if there are none, a demo app.
	Apps map[string]*appconfig.App `json:"apps,omitempty"`

	// A file that keeps what is installed over a restart, refresh tokens
	// included. It is made when it is missing, readable by its owner only.
	// Placeholders are expanded when the config is loaded.
	// Default: none; everything is in memory.
	State string `json:"state,omitempty"`

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
//	    state <file>
//	}
//
// app may be given more than once and takes what it takes in the global
// option hubspot.
func (s *Sandbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.Err("hubspot_sandbox: takes no value, but may have a block of settings")
	}
	return parseBlock(d, "hubspot_sandbox", map[string]setting{
		"app": {repeatable: true, parse: func(d *caddyfile.Dispenser) error {
			name, app, err := parseNamedApp(d, s.Apps)
			if err != nil {
				return err
			}
			if s.Apps == nil {
				s.Apps = make(map[string]*appconfig.App)
			}
			s.Apps[name] = app
			return nil
		}},
		"state": textSetting(&s.State),
	})
}

// Provision takes the sandbox that an earlier config made with the same apps,
// or makes it.
func (s *Sandbox) Provision(ctx caddy.Context) error {
	apps, err := s.apps(ctx)
	if err != nil {
		return err
	}
	state, err := caddy.NewReplacer().ReplaceOrErr(s.State, true, true)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	key := sandboxKey(apps, state)
	pooled, release, err := acquire(key, func() (*pooledSandbox, error) { return newPooledSandbox(apps, state) })
	if err != nil {
		return err
	}
	detach := pooled.logs.attach(ctx.Slogger().Handler())
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
		return sandboxApps(named, caddy.NewReplacer())
	}
	value, err := ctx.AppIfConfigured("hubspot")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hubApps := value.(*App).hubApps
	apps := make([]sandbox.App, 0, len(hubApps))
	for _, name := range slices.Sorted(maps.Keys(hubApps)) {
		app, err := sandboxApp(hubApps[name].settings)
		if err != nil {
			return nil, err
		}
		apps = append(apps, app)
	}
	return apps, nil
}

// sandboxApps expands apps for a sandbox.
func sandboxApps(named []appconfig.NamedApp, repl *caddy.Replacer) ([]sandbox.App, error) {
	placed := make([]placedApp, 0, len(named))
	for _, app := range named {
		placed = append(placed, placedApp{name: app.Name, app: app.App})
	}
	resolved, err := resolveNamed(placed, repl)
	if err != nil {
		return nil, err
	}
	apps := make([]sandbox.App, 0, len(resolved))
	for _, name := range slices.Sorted(maps.Keys(resolved)) {
		app, err := sandboxApp(resolved[name])
		if err != nil {
			return nil, err
		}
		apps = append(apps, app)
	}
	return apps, nil
}

// sandboxApp registers an app with a sandbox as one would with HubSpot.
func sandboxApp(settings appconfig.Resolved) (sandbox.App, error) {
	if settings.CredentialsPath != "" {
		return sandbox.App{}, fmt.Errorf("app %q: credentials: the sandbox does not read Vault; give hubspot_sandbox an app block with client_id and client_secret", settings.Name)
	}
	app := sandbox.App{
		ClientID:          settings.ClientID,
		ClientSecret:      settings.ClientSecret,
		ClientSecretNext:  settings.ClientSecretNext,
		AppID:             settings.AppID,
		Scopes:            settings.Scopes.Required,
		ConditionalScopes: settings.Scopes.Conditional,
		OptionalScopes:    settings.Scopes.Optional,
	}
	if settings.RedirectURI != "" {
		app.RedirectURIs = []string{settings.RedirectURI}
	}
	if len(app.Scopes) == 0 {
		// An app without install links is known by its credentials only.
		app.Scopes = []string{"oauth"}
	}
	return app, nil
}

// pooledSandbox is a sandbox that keeps its state while configs change.
type pooledSandbox struct {
	handler *sandbox.Sandbox
	logs    newest[slog.Handler]
}

func newPooledSandbox(apps []sandbox.App, state string) (*pooledSandbox, error) {
	p := new(pooledSandbox)
	var err error
	p.handler, err = sandbox.New(sandbox.Options{Apps: apps, StateFile: state, Logger: slog.New(newestHandler{logs: &p.logs})})
	return p, err
}

// sandboxKey names a sandbox by what its apps are registered with, and where
// it keeps them.
func sandboxKey(apps []sandbox.App, state string) poolKey {
	k := newKeyMaker("sandbox").add("state", state)
	for _, app := range apps {
		k.add("client", app.ClientID, app.ClientSecret.Reveal(), app.ClientSecretNext.Reveal(), strconv.FormatInt(app.AppID, 10)).
			add("redirect", app.RedirectURIs...).
			add("scopes", app.Scopes...).
			add("conditional", app.ConditionalScopes...).
			add("optional", app.OptionalScopes...)
	}
	return k.key()
}

// Destruct forgets the sandbox; it has nothing to close.
func (p *pooledSandbox) Destruct() error { return nil }

// Interface guards
var (
	_ caddy.Provisioner           = (*Sandbox)(nil)
	_ caddy.CleanerUpper          = (*Sandbox)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sandbox)(nil)
	_ caddyfile.Unmarshaler       = (*Sandbox)(nil)
)
