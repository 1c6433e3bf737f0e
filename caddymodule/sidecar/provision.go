package sidecar

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueset"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// Provision checks everything and takes from the pool what outlives a reload.
// It touches no network, so that a config can be checked anywhere.
func (s *Sidecar) Provision(ctx caddy.Context) error {
	s.ctx, s.logger, s.live = ctx, ctx.Slogger(), new(live)
	if err := s.provisionObserver(ctx); err != nil {
		return err
	}
	if err := s.provisionAudit(); err != nil {
		return err
	}
	g, err := s.generate(newFiles(false), nil)
	if err != nil {
		return err
	}
	s.live.current.Store(g)
	s.queues = queueset.New(s.App, s.metrics, s.logger)
	for _, name := range g.onTrial {
		s.logger.Warn("the policy of a caller is on trial (dry_run): what it refuses is let pass", "caller", name)
	}
	return nil
}

func (s *Sidecar) provisionObserver(ctx caddy.Context) error {
	shared, err := acquire(&s.releases, pool.KeyOf("process", struct{}{}), func() (*pooledProcess, error) {
		process := &pooledProcess{metrics: metrics.New(), budget: relay.NewBudget(relay.DefaultBudget), secrets: new(secretuse.Book)}
		return process, nil
	})
	if err != nil {
		return err
	}
	s.metrics, s.budget, s.secrets = shared.metrics, shared.budget, shared.secrets
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

// pooledProcess is what the process has one of, over config reloads.
type pooledProcess struct {
	metrics *metrics.Metrics
	budget  *relay.Budget
	secrets *secretuse.Book
}

func (*pooledProcess) Destruct() error { return nil }
