package sidecar

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// Provision checks everything and takes from the pool what outlives a reload.
// It touches no network, so that a config can be checked anywhere.
func (s *Sidecar) Provision(ctx caddy.Context) error {
	s.ctx = ctx
	s.logger = ctx.Slogger()
	if err := s.provisionEndpoints(); err != nil {
		return err
	}
	resolved, err := s.resolveApps()
	if err != nil {
		return err
	}
	if err := s.provisionCallers(resolved); err != nil {
		return err
	}
	if err := s.provisionStore(ctx); err != nil {
		return err
	}
	if s.fallback, err = s.FallbackCache.expand(); err != nil {
		return err
	}
	if err := s.provisionObserver(ctx); err != nil {
		return err
	}
	if err := s.provisionAudit(); err != nil {
		return err
	}
	for _, app := range resolved {
		if err := s.provisionApp(app); err != nil {
			return fmt.Errorf("app %q: %w", app.Name, err)
		}
	}
	if err := s.provisionFreezes(); err != nil {
		return err
	}
	s.desk = admission.NewDesk(admission.Config{
		Apps: s.apps, Callers: s.callers, JWTs: s.jwts, Freezes: s.freezes, Metrics: s.metrics, Logger: s.logger,
	})
	return nil
}

func (s *Sidecar) provisionEndpoints() error {
	e := settings.NewExpander()
	s.endpoints = hubspot.Endpoints{
		API:       e.Text("endpoints: api", s.EndpointSettings.API),
		Authorize: e.Text("endpoints: authorize", s.EndpointSettings.Authorize),
		Version:   e.Text("endpoints: version", s.EndpointSettings.Version),
	}.WithDefaults()
	if err := e.Err(); err != nil {
		return err
	}
	return s.endpoints.Validate()
}

// resolveApps checks and expands the apps of the config and of the apps file.
func (s *Sidecar) resolveApps() ([]appconfig.Resolved, error) {
	var apps []appconfig.NamedApp
	for _, name := range slices.Sorted(maps.Keys(s.AppSettings)) {
		if s.AppSettings[name] == nil {
			return nil, fmt.Errorf("app %q: has no settings", name)
		}
		apps = append(apps, appconfig.NamedApp{Name: name, App: *s.AppSettings[name]})
	}
	if s.AppsFile != "" {
		path, err := settings.Expand(s.AppsFile)
		if err != nil {
			return nil, fmt.Errorf("apps_file: %w", err)
		}
		loaded, err := appconfig.LoadYAML(path)
		if err != nil {
			return nil, fmt.Errorf("apps_file: %w", err)
		}
		apps = append(apps, loaded...)
	}
	if len(apps) == 0 {
		return nil, errors.New("no app is configured: give at least one, as in app <name> { … }, or an apps_file")
	}
	resolved, err := appconfig.ExpandAll(apps, settings.Expand)
	if err != nil {
		return nil, err
	}
	return resolved, appconfig.CheckRedirects(resolved)
}

func (s *Sidecar) provisionObserver(ctx caddy.Context) error {
	shared, err := acquire(s, pool.KeyOf("process", struct{}{}), func() (*pooledProcess, error) {
		return &pooledProcess{metrics.New(), relay.NewBudget(relay.DefaultBudget)}, nil
	})
	if err != nil {
		return err
	}
	s.metrics, s.budget = shared.metrics, shared.budget
	if err := s.metrics.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	s.observer = newObserver(s.logger, s.metrics, events.(*caddyevents.App))
	return nil
}

// acquire takes a pooled value for as long as the config lives.
func acquire[T caddy.Destructor](s *Sidecar, key pool.Key, construct func() (T, error)) (T, error) {
	value, release, err := pool.Acquire(key, construct)
	if err == nil {
		s.releases = append(s.releases, release)
	}
	return value, err
}

// pooledProcess is what the process has one of, over config reloads.
type pooledProcess struct {
	metrics *metrics.Metrics
	budget  *relay.Budget
}

func (*pooledProcess) Destruct() error { return nil }

// provisionApp makes what serves an app.
func (s *Sidecar) provisionApp(app appconfig.Resolved) error {
	pooled, err := s.acquireManager(app)
	if err != nil {
		return err
	}
	limiter, err := s.acquireLimiter(app)
	if err != nil {
		return err
	}
	s.apps = append(s.apps, &hubapp.App{
		Name:      appconfig.CanonicalName(app.Name),
		Settings:  app,
		Endpoints: s.endpoints,
		Client: &hubspot.Client{
			HTTP:        pooled.http,
			Endpoints:   s.endpoints,
			Credentials: pooled.credentials,
			RedirectURI: app.RedirectURI,
		},
		Manager: pooled.manager,
		Limiter: limiter,
	})
	return nil
}
