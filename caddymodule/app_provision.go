package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Provision checks everything and takes from the pool what outlives a reload.
// It touches no network, so that a config can be checked anywhere.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.now = time.Now
	repl := caddy.NewReplacer()
	if err := a.provisionEndpoints(repl); err != nil {
		return err
	}
	resolved, err := a.resolveApps(repl)
	if err != nil {
		return err
	}
	if err := a.provisionCallers(ctx, repl, slices.Sorted(maps.Keys(resolved))); err != nil {
		return err
	}
	if err := a.provisionStore(ctx); err != nil {
		return err
	}
	if a.FallbackCache != nil {
		if err := a.FallbackCache.provision(repl); err != nil {
			return err
		}
	}
	if err := a.provisionObserver(ctx); err != nil {
		return err
	}
	if err := a.provisionAudit(repl, ctx.Slogger()); err != nil {
		return err
	}
	a.hubApps = make(map[string]*hubApp, len(resolved))
	for name, settings := range resolved {
		if a.hubApps[name], err = a.newHubApp(name, settings); err != nil {
			return fmt.Errorf("app %q: %w", settings.Name, err)
		}
	}
	a.tagged = tagApps(a.hubApps)
	return a.provisionFreezes()
}

func (a *App) provisionEndpoints(repl *caddy.Replacer) error {
	e := &expander{repl: repl}
	a.endpoints = hubspot.Endpoints{
		API:       e.text("endpoints: api", a.Endpoints.API),
		Authorize: e.text("endpoints: authorize", a.Endpoints.Authorize),
		Version:   e.text("endpoints: version", a.Endpoints.Version),
	}.WithDefaults()
	if e.err != nil {
		return e.err
	}
	return a.endpoints.Validate()
}

// resolveApps checks and expands the apps of the config and of the apps file,
// by their names in lower case.
func (a *App) resolveApps(repl *caddy.Replacer) (map[string]appconfig.Resolved, error) {
	apps, err := a.namedApps(repl)
	if err != nil {
		return nil, err
	}
	if len(apps) == 0 {
		return nil, errors.New("no app is configured: give at least one, as in app <name> { … }, or an apps_file")
	}
	resolved, err := resolveNamed(apps, repl)
	if err != nil {
		return nil, err
	}
	return resolved, checkRedirects(resolved)
}

// namedApps returns all apps, with what to say of where each stands.
func (a *App) namedApps(repl *caddy.Replacer) ([]placedApp, error) {
	var apps []placedApp
	for _, name := range slices.Sorted(maps.Keys(a.Apps)) {
		if a.Apps[name] == nil {
			return nil, fmt.Errorf("app %q: has no settings", name)
		}
		apps = append(apps, placedApp{name: name, app: *a.Apps[name]})
	}
	if a.AppsFile == "" {
		return apps, nil
	}
	path, err := repl.ReplaceOrErr(a.AppsFile, true, true)
	if err != nil {
		return nil, fmt.Errorf("apps_file: %w", err)
	}
	loaded, err := appconfig.LoadYAML(path)
	if err != nil {
		return nil, fmt.Errorf("apps_file: %w", err)
	}
	for _, app := range loaded {
		apps = append(apps, placedApp{name: app.Name, app: app.App, place: fmt.Sprintf("%s:%d: ", path, app.Line)})
	}
	return apps, nil
}

// placedApp is an app as it is written. place is where, for the beginning of
// an error; it is empty for an app of the Caddyfile or JSON config.
type placedApp struct {
	name  string
	app   appconfig.App
	place string
}

// resolveNamed expands apps whose names differ in more than case.
func resolveNamed(apps []placedApp, repl *caddy.Replacer) (map[string]appconfig.Resolved, error) {
	expand := func(_, value string) (string, error) { return repl.ReplaceOrErr(value, true, true) }
	resolved := make(map[string]appconfig.Resolved, len(apps))
	for _, placed := range apps {
		name := appconfig.CanonicalName(placed.name)
		if other, ok := resolved[name]; ok {
			return nil, fmt.Errorf("%sapp %q: there is an app %q already; names compare without regard to case", placed.place, placed.name, other.Name)
		}
		settings, err := placed.app.Expand(placed.name, expand)
		if err != nil {
			return nil, fmt.Errorf("%s%w", placed.place, err)
		}
		resolved[name] = settings
	}
	return resolved, nil
}

// checkRedirects refuses apps that share a redirect path: the path of a
// callback says which app it is for.
func checkRedirects(resolved map[string]appconfig.Resolved) error {
	paths := make(map[string]string, len(resolved))
	for _, name := range slices.Sorted(maps.Keys(resolved)) {
		settings := resolved[name]
		if settings.RedirectURI == "" {
			continue
		}
		u, err := url.Parse(settings.RedirectURI)
		if err != nil {
			return fmt.Errorf("app %q: redirect_uri: is not a URL", settings.Name)
		}
		if other, ok := paths[u.Path]; ok {
			return fmt.Errorf("app %q: redirect_uri: has the path %s, as has app %q; each app needs its own, because the path says which app a callback is for",
				settings.Name, u.Path, other)
		}
		paths[u.Path] = settings.Name
	}
	return nil
}

func (a *App) provisionStore(ctx caddy.Context) error {
	module, err := a.loadStore(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	store, release, err := acquireStore(ctx, module, ctx.Slogger())
	if err != nil {
		return err
	}
	a.store = store
	a.releases = append(a.releases, release)
	return nil
}

func (a *App) loadStore(ctx caddy.Context) (StoreModule, error) {
	var value any
	var err error
	if a.StoreRaw == nil {
		value, err = ctx.LoadModuleByID("hubspot.stores.caddy", nil)
	} else {
		value, err = ctx.LoadModule(a, "StoreRaw")
	}
	if err != nil {
		return nil, err
	}
	module, ok := value.(StoreModule)
	if !ok {
		return nil, fmt.Errorf("module %T is not a store of connections", value)
	}
	return module, nil
}

func (a *App) provisionObserver(ctx caddy.Context) error {
	m, release, err := acquireMetrics(ctx.GetMetricsRegistry())
	if err != nil {
		return err
	}
	a.metrics = m
	a.releases = append(a.releases, release)
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	a.observer = newObserver(a.logger, m, events.(*caddyevents.App))
	return nil
}

// newHubApp makes what serves an app.
func (a *App) newHubApp(name string, settings appconfig.Resolved) (*hubApp, error) {
	pooled, release, err := acquireManager(managerSettings{
		app:       name,
		endpoints: a.endpoints,
		static: hubspot.Credentials{
			ClientID:   settings.ClientID,
			Secret:     settings.ClientSecret,
			NextSecret: settings.ClientSecretNext,
		},
		stored:       settings.CredentialsPath,
		fallback:     a.FallbackCache,
		refreshCount: settings.RefreshQuota.Count,
		refreshPer:   settings.RefreshQuota.Per,
	}, a.store, a.metrics, a.observer)
	if err != nil {
		return nil, err
	}
	a.releases = append(a.releases, release)
	limiter, release, err := acquireLimiter(settings, a.endpoints, name, a.metrics)
	if err != nil {
		return nil, err
	}
	a.releases = append(a.releases, release)
	return &hubApp{
		name:      name,
		settings:  settings,
		endpoints: a.endpoints,
		client: &hubspot.Client{
			HTTP:        pooled.http,
			Endpoints:   a.endpoints,
			Credentials: pooled.credentials,
			RedirectURI: settings.RedirectURI,
		},
		manager: pooled.manager,
		limiter: limiter,
		app:     a,
	}, nil
}
