package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
)

func init() {
	caddy.RegisterModule(App{})
}

// App holds what the HubSpot directives of all sites share: the HubSpot
// apps, the callers that may use them, and the store in which connections
// are kept.
//
// Secrets are written as placeholders such as `{env.HUBSPOT_CLIENT_SECRET}`
// or `{file./run/secrets/hubspot}`. They stay placeholders in the config and
// are read once, when the config is loaded. One that is empty or unknown is
// an error.
type App struct {
	// Where connections are kept: `vault` or `caddy`. Default: `caddy`,
	// which is Caddy's own storage, encrypted.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=hubspot.stores inline_key=type"`

	// Encrypted copies of the connections on this machine, for a start while
	// the store is down. Default: none.
	FallbackCache *FallbackCache `json:"fallback_cache,omitempty"`

	// A log of who used whose HubSpot account. Default: none.
	Audit *Audit `json:"audit,omitempty"`

	// The HubSpot apps, by the name under which callers and directives
	// know them. Names compare without regard to case.
	Apps map[string]*appconfig.App `json:"apps,omitempty"`

	// A YAML file with more apps, in the same settings. A relative path is
	// relative to the working directory. The file is read when the config
	// is loaded; after a change of it alone, reload with `--force`.
	AppsFile string `json:"apps_file,omitempty"`

	// The programs that may call, by name. Without any, nobody can use the
	// endpoints that want a caller, and `hubspot_proxy` has to be `open`.
	// Names compare without regard to case.
	Callers map[string]*Caller `json:"callers,omitempty"`

	// Where HubSpot is. Default: HubSpot's own endpoints.
	Endpoints Endpoints `json:"endpoints,omitzero"`

	endpoints hubspot.Endpoints
	hubApps   map[string]*hubApp
	// tagged has the apps by the marks of their user tokens.
	tagged map[sealing.Tag]*hubApp
	// callers is nil if no caller is configured.
	callers *access.Registry
	// jwts is nil if no caller is known by JWTs.
	jwts *jwtauth.Verifier

	store   *pooledStore
	freezes *freeze.Keeper
	// audit is nil without an audit log.
	audit    *audit.Log
	metrics  *metrics
	observer *observer
	releases []func()
	ctx      caddy.Context
	logger   *zap.Logger
	now      func() time.Time
}

// Endpoints are the places at HubSpot that are called. They are changed for
// the sandbox, a QA portal or a region. Each must be https, or http on a
// loopback address. Placeholders are expanded when the config is loaded.
type Endpoints struct {
	// The API's scheme and host, without a path.
	// Default: `https://api.hubapi.com`.
	API string `json:"api,omitempty"`

	// The address of the page on which users agree to install an app,
	// without a query. Default: `https://app.hubspot.com/oauth/authorize`.
	Authorize string `json:"authorize,omitempty"`

	// The date version of HubSpot's token endpoints, which are
	// `/oauth/<version>/token` and those below it. Default: `2026-09`.
	Version string `json:"version,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "hubspot",
		New: func() caddy.Module { return new(App) },
	}
}

// Start opens the audit log, and begins to hand events to their subscribers,
// until the config ends, and to look at what is frozen. Logins, caches and
// refreshes begin when they are first needed, because Caddy starts its apps in
// no particular order.
func (a *App) Start() error {
	if err := a.openAudit(); err != nil {
		return err
	}
	go a.observer.dispatch(a.ctx)
	a.freezes.Start()
	return nil
}

// Stop ends nothing: requests of this config may still be running. See
// Cleanup. It logs the head of the audit log, while there is a log to take it.
func (a *App) Stop() error {
	if a.audit != nil {
		a.audit.LogHead()
	}
	return nil
}

// Cleanup gives back what Provision took from the pool. Requests and events
// that are still under way keep working with it, so nothing is changed here:
// even the CaddyModule method reads the whole App.
func (a *App) Cleanup() error {
	for _, release := range a.releases {
		release()
	}
	return nil
}

// hubspotApp returns the config's App for a handler that is being
// provisioned.
func hubspotApp(ctx caddy.Context) (*App, error) {
	value, err := ctx.AppIfConfigured("hubspot")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("the global option hubspot is missing: name at least one HubSpot app there, as in { hubspot { app <name> { … } } }")
	}
	if err != nil {
		return nil, err
	}
	app, ok := value.(*App)
	if !ok {
		return nil, fmt.Errorf("app module hubspot is a %T, not this one", value)
	}
	return app, nil
}

// app returns the configured HubSpot app of that name, in any case.
func (a *App) app(name string) (*hubApp, bool) {
	h, ok := a.hubApps[strings.ToLower(name)]
	return h, ok
}

// credentials returns the app's client credentials. It fails with
// [connection.ErrUnavailable] if they are kept in Vault and have never been
// read.
func (h *hubApp) credentials(ctx context.Context) (hubspot.Credentials, error) {
	return h.client.Credentials.Credentials(ctx)
}

// uuid returns the name-based UUID of the app's client id. It fails as
// credentials does.
func (h *hubApp) uuid(ctx context.Context) (string, error) {
	creds, err := h.credentials(ctx)
	if err != nil {
		return "", err
	}
	return hubspot.ClientUUID(creds.ClientID), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
