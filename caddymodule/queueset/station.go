package queueset

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// endTimeout is how long deliveries under way have when a queue is closed.
const endTimeout = 3 * time.Second

// station is a queue and what delivers from it, for as long as a config uses it.
type station struct {
	key       pool.Key
	metrics   *metrics.Metrics
	newest    pool.Newest[use]
	transport *http.Transport

	mu      sync.Mutex
	queue   webhookqueue.Queue
	engine  *webhookdelivery.Engine
	unwatch func()
	// configured are the settings that the queue has.
	configured pool.Key
	// logs are those of the newest config.
	logs pool.Newest[slog.Handler]
}

// use is what a config brings along.
type use struct {
	module   queueapi.Module
	settings pool.Key
	deliver  webhookdelivery.Settings
	apps     func(name string) (*hubapp.App, bool)
}

func newStation(key pool.Key, m *metrics.Metrics) *station {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Deliveries go where the settings say, and through nobody else.
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = webhookdelivery.Workers
	return &station{key: key, metrics: m, transport: transport, unwatch: func() {}}
}

// start opens the queue, or has the open one go by the newest config.
func (s *station) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.newest.Get()
	switch {
	case !ok:
		return nil
	case s.queue == nil:
		return s.open(u)
	case u.settings != s.configured:
		if err := u.module.ConfigureQueue(s.queue); err != nil {
			return err
		}
		s.configured = u.settings
	}
	return nil
}

// fallBack has the open queue go by the config that is the newest now that another
// one, which may not have started, has gone.
func (s *station) fallBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.newest.Get()
	if !ok || s.queue == nil || u.settings == s.configured {
		return
	}
	if err := u.module.ConfigureQueue(s.queue); err != nil {
		slog.New(pool.Handler(&s.logs)).Error("the queue of webhooks does not take its former settings back", "error", err)
		return
	}
	s.configured = u.settings
}

func (s *station) open(u use) error {
	logger := slog.New(pool.Handler(&s.logs))
	queue, err := u.module.OpenQueue(queueapi.Host{Logger: logger})
	if err != nil {
		return err
	}
	s.queue, s.configured = queue, u.settings
	s.engine = webhookdelivery.Start(webhookdelivery.Config{
		Queue: queue, Transport: s.transport, Users: s.users, Observer: s.metrics.Webhooks, Logger: logger,
		Settings: func() webhookdelivery.Settings {
			u, _ := s.newest.Get()
			return u.deliver
		},
	})
	return nil
}

// users names the users of a portal. An app that the newest config has no more has
// none.
func (s *station) users(ctx context.Context, app string, portal int64) ([]string, error) {
	u, _ := s.newest.Get()
	known, ok := u.apps(app)
	if !ok {
		return nil, nil
	}
	return known.PortalUsers.Users(ctx, portal)
}

// watch has the queue measured under a name.
func (s *station) watch(apps string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwatch()
	s.unwatch = s.metrics.Webhooks.Watch(apps, s.queue)
}

// opened returns the queue; nil if it is not open.
func (s *station) opened() webhookqueue.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue
}

// Destruct stops delivering and closes the queue. What is in it stays there.
func (s *station) Destruct() error {
	s.mu.Lock()
	queue, engine, unwatch := s.queue, s.engine, s.unwatch
	s.mu.Unlock()
	unwatch()
	if queue == nil {
		return nil
	}
	pool.CloseSoon(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		engine.Close(ctx)
		if err := queue.Close(); err != nil {
			slog.New(pool.Handler(&s.logs)).Error("the queue of webhooks could not be closed", "error", err)
		}
		s.transport.CloseIdleConnections()
	})
	return nil
}

// GoString keeps a pool's panic from printing what the station holds.
func (s *station) GoString() string { return "station(" + s.key.String() + ")" }
