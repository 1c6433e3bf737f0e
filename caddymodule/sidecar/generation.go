package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/journals"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/exporting"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// Generation is what a config's settings have come to at one reading of the
// files that they name. When one of the files changes, another takes its place;
// see [Follow]. What a changed file has not to do with is the same in both: it
// comes from the pool. It is safe for concurrent use.
type Generation struct {
	car   *Sidecar
	files *files

	endpoints hubspot.Endpoints
	// exportTo are the keys to which connections may be exported.
	exportTo []exporting.Recipient
	// apps are sorted by name.
	apps []*hubapp.App
	// callers is nil if no caller is configured, and jwts if none is known by
	// JWTs.
	callers *access.Registry
	jwts    *jwtauth.Verifier
	// onTrial are the callers with dry_run.
	onTrial []string
	desk    *admission.Desk

	store *pooledStore
	// opens tells whether what is kept is opened with the same key.
	opens   pool.Key
	freezes *freeze.Keeper
	// scopeUse is there before the apps, which learn by it.
	scopeUse *scopeuse.Keeper
	// journals are followed, by the app's name.
	journals map[string]*journals.Pooled
	// fallback is nil without a fallback cache.
	fallback *fallback
	releases releases
}

// Desk decides who is let in, and to what.
func (g *Generation) Desk() *admission.Desk { return g.desk }

// App returns the HubSpot app of that name, in any case.
func (g *Generation) App(name string) (*hubapp.App, bool) { return g.desk.App(name) }

// Apps returns the HubSpot apps, sorted by name. The slice is not to be changed.
func (g *Generation) Apps() []*hubapp.App { return g.apps }

// releases give back what was taken from the pool.
type releases []func()

// release may be called more than once.
func (r releases) release() {
	for _, release := range r {
		release()
	}
}

// acquire takes a pooled value until it is released.
func acquire[T caddy.Destructor](r *releases, key pool.Key, construct func() (T, error)) (T, error) {
	value, release, err := pool.Acquire(key, construct)
	if err == nil {
		*r = append(*r, release)
	}
	return value, err
}

// generate makes a generation, noting in f what it reads. before is the one that
// it is to follow, nil for none.
func (s *Sidecar) generate(f *files, before *Generation) (*Generation, error) {
	g := &Generation{car: s, files: f}
	if err := g.build(before); err != nil {
		g.releases.release()
		return nil, err
	}
	return g, nil
}

// build makes what is cheap to make first: a generation that comes to nothing is
// tried again and again. Like all provisioning it touches no network, but where
// the store of the generation before is to be followed by another.
func (g *Generation) build(before *Generation) error {
	if err := g.readEndpoints(); err != nil {
		return err
	}
	if err := g.readExport(); err != nil {
		return err
	}
	resolved, err := g.resolveApps()
	if err != nil {
		return err
	}
	if g.fallback, err = g.car.FallbackCache.expand(g.files.expander()); err != nil {
		return err
	}
	if err := g.provisionCallers(resolved); err != nil {
		return err
	}
	if err := g.provisionStore(before); err != nil {
		return err
	}
	if err := g.provisionScopeUse(); err != nil {
		return err
	}
	for _, app := range resolved {
		if err := g.provisionApp(app); err != nil {
			return fmt.Errorf("app %q: %w", app.Name, err)
		}
	}
	if err := g.provisionFreezes(); err != nil {
		return err
	}
	g.desk = admission.NewDesk(admission.Config{
		Apps: g.apps, Callers: g.callers, JWTs: g.jwts, Freezes: g.freezes, Metrics: g.car.metrics, Logger: g.car.logger,
	})
	return nil
}

// start has the store know what it is used for, looks at what is frozen, and
// keeps what is learnt of scopes.
func (g *Generation) start() {
	g.store.need(g.apps)
	g.freezes.Start()
	g.scopeUse.Start()
	for _, watcher := range g.journals {
		watcher.Start()
	}
}

func (g *Generation) readEndpoints() error {
	e, written := g.files.expander(), g.car.EndpointSettings
	g.endpoints = hubspot.Endpoints{
		API:       e.Text("endpoints: api", written.API),
		Authorize: e.Text("endpoints: authorize", written.Authorize),
		Version:   e.Text("endpoints: version", written.Version),
	}.WithDefaults()
	if err := e.Err(); err != nil {
		return err
	}
	return g.endpoints.Validate()
}

// resolveApps checks and expands the apps of the config and of the apps file.
func (g *Generation) resolveApps() ([]appconfig.Resolved, error) {
	written := g.car.AppSettings
	var apps []appconfig.NamedApp
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if written[name] == nil {
			return nil, fmt.Errorf("app %q: has no settings", name)
		}
		apps = append(apps, appconfig.NamedApp{Name: name, App: *written[name]})
	}
	loaded, err := g.loadAppsFile()
	if err != nil {
		return nil, fmt.Errorf("apps_file: %w", err)
	}
	apps = append(apps, loaded...)
	if len(apps) == 0 {
		return nil, errors.New("no app is configured: give at least one, as in app <name> { … }, or an apps_file")
	}
	for _, app := range apps {
		if err := g.noteScopesFrom(app); err != nil {
			return nil, err
		}
	}
	resolved, err := appconfig.ExpandAll(apps, g.files.expand)
	if err != nil {
		return nil, err
	}
	return resolved, cmp.Or(appconfig.CheckRedirects(resolved), appconfig.CheckFallbacks(resolved))
}

func (g *Generation) loadAppsFile() ([]appconfig.NamedApp, error) {
	if g.car.AppsFile == "" {
		return nil, nil
	}
	path, err := g.files.expand(g.car.AppsFile)
	if err != nil {
		return nil, err
	}
	if err := g.files.note(path); err != nil {
		return nil, err
	}
	return appconfig.LoadYAML(path)
}

// noteScopesFrom notes the file of an app's setting scopes_from.
func (g *Generation) noteScopesFrom(app appconfig.NamedApp) error {
	if app.App.ScopesFrom == "" {
		return nil
	}
	e := g.files.expander()
	path := e.Text(appconfig.SettingScopesFrom, app.App.ScopesFrom)
	if e.Err() != nil {
		return nil // found again, and said, when the app is expanded
	}
	if err := g.files.note(path); err != nil {
		return &appconfig.SettingError{App: app.Name, Setting: appconfig.SettingScopesFrom, Err: err}
	}
	return nil
}

// provisionApp makes what serves an app.
func (g *Generation) provisionApp(app appconfig.Resolved) error {
	pooled, err := g.acquireManager(app)
	if err != nil {
		return err
	}
	limiter, err := g.acquireLimiter(app)
	if err != nil {
		return err
	}
	secrets := g.car.secrets.Of(appconfig.CanonicalName(app.Name))
	served := &hubapp.App{
		Name:      appconfig.CanonicalName(app.Name),
		Settings:  app,
		Endpoints: g.endpoints,
		Client: &hubspot.Client{
			HTTP:        pooled.http,
			Endpoints:   g.endpoints,
			Credentials: pooled.credentials,
			RedirectURI: app.RedirectURI,
			SecretUsed:  secrets.Note,
		},
		Manager:     pooled.manager,
		Limiter:     limiter,
		ScopeUse:    g.scopeUse.App(appconfig.CanonicalName(app.Name)),
		PortalUsers: pooled.portalUsers,
		Secrets:     secrets,
	}
	g.apps = append(g.apps, served)
	g.releases = append(g.releases, g.car.metrics.ShowRotation(served))
	return g.provisionJournal(served, pooled)
}
