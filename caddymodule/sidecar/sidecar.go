// Package sidecar is the Caddy app module hubspot, and the global option of that
// name: the HubSpot apps, the callers, the store and all else that the other
// modules share. They get it with [Get] when they are provisioned.
package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueset"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

func init() {
	caddy.RegisterModule(Sidecar{})
}

// Sidecar holds what the HubSpot directives of all sites share: the HubSpot
// apps, the callers that may use them, and the store in which connections
// are kept.
//
// Secrets are written as placeholders such as `{env.HUBSPOT_CLIENT_SECRET}`
// or `{file./run/secrets/hubspot}`. They stay placeholders in the config. One
// that is empty or unknown when the config is loaded is an error.
//
// The files that settings of this option are read from are followed: those of
// placeholders, of `apps_file` and of `scopes_from`. A change takes effect
// within a minute, without a reload. One that cannot be used is logged and shown
// by `/hubspot/status`, and what the files held before stays in use. The setting
// `audit` is the exception, and so is what is not a regular file.
type Sidecar struct {
	// Where connections are kept: `vault` or `caddy`. Default: `caddy`,
	// which is Caddy's own storage, encrypted.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=hubspot.stores inline_key=type"`

	// A store to move connections from, in the same form: what `store` lacks is
	// read there and moved when it is written. `caddy hubspot move` moves the
	// rest and says when this can go. Default: none.
	MigrateFromRaw json.RawMessage `json:"migrate_from,omitempty" caddy:"namespace=hubspot.stores inline_key=type"`

	// The public keys of age to which `caddy hubspot export` seals connections,
	// such as `age1…` of `age-keygen`. Whoever has one of the private keys can
	// read every export. Default: none, and nothing can be exported.
	ExportTo []string `json:"export_to,omitempty"`

	// Encrypted copies of the connections on this machine, for a start while
	// the store is down. Default: none.
	FallbackCache *FallbackCache `json:"fallback_cache,omitempty"`

	// A log of who used whose HubSpot account. Default: none.
	AuditSettings *Audit `json:"audit,omitempty"`

	// The HubSpot apps, by the name under which callers and directives
	// know them. Names compare without regard to case.
	AppSettings map[string]*appconfig.App `json:"apps,omitempty"`

	// A YAML file with more apps, in the same settings. A relative path is
	// relative to the working directory. An app that comes or goes does so
	// within a minute; one that a `hubspot_proxy` names cannot go.
	AppsFile string `json:"apps_file,omitempty"`

	// The programs that may call, by name. Without any, nobody can use the
	// endpoints that want a caller, and `hubspot_proxy` has to be `open`.
	// Names compare without regard to case.
	Callers map[string]*Caller `json:"callers,omitempty"`

	// Where HubSpot is. Default: HubSpot's own endpoints.
	EndpointSettings Endpoints `json:"endpoints,omitzero"`

	// live is behind a pointer because Caddy copies the Sidecar at any time.
	live *live
	// audit is nil without an audit log.
	audit    *audit.Log
	metrics  *metrics.Metrics
	budget   *relay.Budget
	secrets  *secretuse.Book
	observer *observer
	queues   *queueset.Set
	releases releases
	ctx      caddy.Context
	logger   *slog.Logger
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
func (Sidecar) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "hubspot",
		New: func() caddy.Module { return new(Sidecar) },
	}
}

// Get returns the config's Sidecar to a module that is being provisioned.
func Get(ctx caddy.Context) (*Sidecar, error) {
	value, err := ctx.AppIfConfigured("hubspot")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("the global option hubspot is missing: name at least one HubSpot app there, as in { hubspot { app <name> { … } } }")
	}
	if err != nil {
		return nil, err
	}
	s, ok := value.(*Sidecar)
	if !ok {
		return nil, fmt.Errorf("app module hubspot is a %T, not this one", value)
	}
	return s, nil
}

// Start opens the audit log and the queues of webhooks, and begins to hand events to their subscribers,
// until the config ends, and to look at what is frozen and at the files that
// settings were read from. Logins, caches and refreshes begin when they are first
// needed, because Caddy starts its apps in no particular order.
func (s *Sidecar) Start() error {
	if s.audit != nil {
		if err := s.audit.Open(); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	if err := s.queues.Start(); err != nil {
		return err
	}
	g := s.live.current.Load()
	g.start()
	go s.observer.dispatch(s.ctx)
	if once := g.files.once; once != "" {
		s.logger.Warn("the files that settings are read from are not followed, because one of them can be read only once", "file", once)
		return nil
	}
	go s.follow(s.ctx)
	return nil
}

// Stop ends nothing: requests of this config may still be running. See
// Cleanup. It logs the head of the audit log, while there is a log to take it.
func (s *Sidecar) Stop() error {
	if s.audit != nil {
		s.audit.LogHead()
	}
	return nil
}

// Cleanup gives back what Provision took from the pool. Requests and events
// that are still under way keep working with it, so nothing is changed here:
// even the CaddyModule method reads the whole Sidecar.
func (s *Sidecar) Cleanup() error {
	s.live.end()
	if s.queues != nil {
		s.queues.Release()
	}
	s.releases.release()
	return nil
}

// Desk decides who is let in, and to what. Like all that follows it is there
// once the Sidecar is provisioned, and safe for concurrent use. What depends on
// settings may be another at the next call; see [Follow].
func (s *Sidecar) Desk() *admission.Desk { return s.live.current.Load().desk }

// App returns the configured HubSpot app of that name, in any case.
func (s *Sidecar) App(name string) (*hubapp.App, bool) { return s.Desk().App(name) }

// Apps returns the configured HubSpot apps, sorted by name. The slice is not to
// be changed.
func (s *Sidecar) Apps() []*hubapp.App { return s.live.current.Load().apps }

// Audit returns the audit log; nil if there is none.
func (s *Sidecar) Audit() *audit.Log { return s.audit }

// Metrics returns the metrics of the process.
func (s *Sidecar) Metrics() *metrics.Metrics { return s.metrics }

// Budget bounds the memory that all relays of the process keep requests and
// answers in.
func (s *Sidecar) Budget() *relay.Budget { return s.budget }

// Queues are those in which webhooks wait to be delivered.
func (s *Sidecar) Queues() *queueset.Set { return s.queues }

// Freezes knows what operators have frozen.
func (s *Sidecar) Freezes() *freeze.Keeper { return s.live.current.Load().freezes }

// ScopeUse knows which scopes the apps need.
func (s *Sidecar) ScopeUse() *scopeuse.Keeper { return s.live.current.Load().scopeUse }

// Endpoints say where HubSpot is, with defaults filled in.
func (s *Sidecar) Endpoints() hubspot.Endpoints { return s.live.current.Load().endpoints }

// Interface guards
var (
	_ caddy.App          = (*Sidecar)(nil)
	_ caddy.Provisioner  = (*Sidecar)(nil)
	_ caddy.CleanerUpper = (*Sidecar)(nil)
)
