// Package queueset has the queues of webhooks that a config uses, and what
// delivers from them. Both outlive config reloads.
package queueset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Set is what one config uses. Make one with [New]. It is safe for concurrent use.
type Set struct {
	apps    func(name string) (*hubapp.App, bool)
	metrics *metrics.Metrics
	logger  *slog.Logger

	mu    sync.Mutex
	users []*user
}

// user is a queue as this config uses it.
type user struct {
	key      pool.Key
	settings pool.Key
	station  *station
	apps     []string
	release  func()
}

// New makes an empty Set. apps finds the apps whose users are named in deliveries.
func New(apps func(name string) (*hubapp.App, bool), m *metrics.Metrics, logger *slog.Logger) *Set {
	return &Set{apps: apps, metrics: m, logger: logger}
}

// errOtherSettings is for two directives that name one queue.
var errOtherSettings = errors.New("another hubspot_webhook of the config has the same queue with other settings; give each a queue of its own, or the same queue and deliver")

// Use has an app use the queue of a module, from which is delivered as deliver
// says. It is called while the config is provisioned; the queue opens with
// [Set.Start].
func (s *Set) Use(app string, module queueapi.Module, deliver webhookdelivery.Settings) (*Queue, error) {
	id := string(module.CaddyModule().ID)
	key := pool.KeyOf("webhooks", [...]any{id, module.QueueIdentity()})
	settings := pool.KeyOf("settings", [...]any{module.QueueSettings(), deliver})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if u.key != key {
			continue
		}
		if u.settings != settings {
			return nil, errOtherSettings
		}
		if !slices.Contains(u.apps, app) {
			u.apps = append(u.apps, app)
		}
		return &Queue{u.station}, nil
	}
	station, release, err := pool.Acquire(key, func() (*station, error) { return newStation(key, s.metrics), nil })
	if err != nil {
		return nil, err
	}
	u := &user{key: key, settings: settings, station: station, apps: []string{app}}
	detachLogs := station.logs.Attach(s.logger.Handler())
	detach := station.newest.Attach(use{module: module, settings: settings, deliver: deliver, apps: s.apps})
	u.release = func() {
		detach()
		detachLogs()
		station.fallBack()
		release()
	}
	s.users = append(s.users, u)
	return &Queue{station}, nil
}

// Start opens the queues that are not open, and has those that are go by this
// config. An error is one of the config.
func (s *Set) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if err := u.station.start(); err != nil {
			return fmt.Errorf("hubspot_webhook %s: queue: %w", u.apps[0], err)
		}
		slices.Sort(u.apps)
		u.station.watch(strings.Join(u.apps, "+"))
	}
	return nil
}

// Release gives the queues back. Those of other configs stay.
func (s *Set) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		u.release()
	}
	s.users = nil
}

// All returns the queues of the config that are open.
func (s *Set) All() (all []webhookqueue.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if q := u.station.opened(); q != nil {
			all = append(all, q)
		}
	}
	return all
}

// Queue is where an app's webhooks go.
type Queue struct{ station *station }

// Put implements [webhook.Putter]. Before the config has started it fails with
// [webhookqueue.ErrUnavailable].
func (q *Queue) Put(ctx context.Context, messages []webhookqueue.Message) (webhookqueue.Receipt, error) {
	open := q.station.opened()
	if open == nil {
		return webhookqueue.Receipt{}, webhookqueue.ErrUnavailable
	}
	return open.Put(ctx, messages)
}
