package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// metrics are the collectors of the program. They are made once and
// registered with each config's registry, so that values outlive a reload.
// No label holds a user or a portal: both are without bound, and private.
type metrics struct {
	requests         *prometheus.CounterVec
	overhead         *prometheus.HistogramVec
	connectionEvents *prometheus.CounterVec
	refreshes        *prometheus.CounterVec
	refreshDuration  *prometheus.HistogramVec
	lastRefresh      *prometheus.GaugeVec
	storeOperations  *prometheus.HistogramVec
	appAlarm         *prometheus.GaugeVec
	connections      *connectionCounts
	quotaWaits       *prometheus.HistogramVec
	retries          *prometheus.CounterVec
	dryRunRefusals   *prometheus.CounterVec
	tokensRemoved    *prometheus.CounterVec
	headroom         *headrooms
	freezes          *freezeCounts
	auditLost        *prometheus.CounterVec
}

// Where an answer comes from, in the metric of requests.
const (
	sourceHubSpot = "hubspot"
	sourceSidecar = "sidecar"
)

func newMetrics() *metrics {
	const ns, sub = "caddy", "hubspot"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, Buckets: buckets}, labels)
	}
	return &metrics{
		requests: counter("requests_total", "Requests to the proxy, by who answered (hubspot or sidecar) and the class of the status.",
			"app", "caller", "source", "code"),
		overhead: histogram("overhead_seconds", "Time that the sidecar added to a request: all of it but waiting for HubSpot.",
			[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 5}, "app"),
		connectionEvents: counter("connection_events_total", "What happened to connections and apps, by kind.",
			"app", "event"),
		refreshes: counter("token_refreshes_total", "Refreshes of access tokens, by result (ok or failed).",
			"app", "result"),
		refreshDuration: histogram("token_refresh_duration_seconds", "Time that HubSpot took to refresh an access token.",
			[]float64{.05, .1, .25, .5, 1, 2.5, 5, 10}, "app"),
		lastRefresh: gauge("last_token_refresh_timestamp_seconds", "When an access token was last refreshed, in Unix time.",
			"app"),
		storeOperations: histogram("store_operation_duration_seconds", "Operations of the connection store, by result.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .5, 1, 3}, "store", "operation", "result"),
		appAlarm: gauge("app_alarm", "1 while something is wrong with a whole app, see reason.",
			"app", "reason"),
		quotaWaits: histogram("quota_wait_seconds", "Time that requests which found no place in the quota at once waited for one, by quota (burst or search) and result (served, refused, or gone if the client was).",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "app", "quota", "result"),
		retries: counter("retries_total", "Requests sent to HubSpot once more, by reason: limited, locked, gateway, broken, unsent, or token for one with another access token.",
			"app", "reason"),
		auditLost: counter("audit_lost_total", "Calls that went on without a line in the audit log, because that could not be written."),
		dryRunRefusals: counter("dry_run_refusals_total", "What the policy of a caller with dry_run would have refused, by dimension (app, user, method or path).",
			"app", "caller", "dimension"),
		tokensRemoved: counter("tokens_removed_total", "Access tokens that HubSpot sent back and that were removed from the answer, by where they were (header or body).",
			"app", "where"),
		headroom: &headrooms{desc: prometheus.NewDesc(prometheus.BuildFQName(ns, sub, "quota_headroom_ratio"),
			"The part of the quota that is left on the portal closest to its quota, between 0 and 1.", []string{"app"}, nil)},
		freezes: &freezeCounts{desc: prometheus.NewDesc(prometheus.BuildFQName(ns, sub, "freezes"),
			"Freezes that are in force in this process.", nil, nil)},
		connections: &connectionCounts{
			desc: prometheus.NewDesc(prometheus.BuildFQName(ns, sub, "connections"),
				"Connections that this process has in memory, by status.", []string{"app", "status"}, nil),
			pending: prometheus.NewDesc(prometheus.BuildFQName(ns, sub, "pending_writes"),
				"Connections whose newest tokens are in memory only, because the store does not take them.", []string{"app"}, nil),
			timeLeft: prometheus.NewDesc(prometheus.BuildFQName(ns, sub, "time_left_seconds"),
				"Time until the first connection in use has no valid access token, if no refresh worked from now on.", []string{"app"}, nil),
		},
	}
}

// acquireMetrics returns the program's metrics, registered with registry.
func acquireMetrics(registry prometheus.Registerer) (*metrics, func(), error) {
	m, release, err := acquire(newKeyMaker("metrics").key(), func() (*metrics, error) { return newMetrics(), nil })
	if err != nil {
		return nil, nil, err
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.overhead, m.connectionEvents, m.refreshes, m.refreshDuration,
		m.lastRefresh, m.storeOperations, m.appAlarm, m.connections,
		m.quotaWaits, m.retries, m.headroom, m.freezes, m.auditLost, m.dryRunRefusals,
		m.tokensRemoved,
	} {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			release()
			return nil, nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, release, nil
}

// Destruct does nothing: collectors hold no resources.
func (m *metrics) Destruct() error { return nil }

// request counts an answer of the proxy. source is [sourceHubSpot] or
// [sourceSidecar]; caller is empty for a request without a key; overhead is
// the time that the sidecar added.
func (m *metrics) request(app, caller, source string, status int, overhead time.Duration) {
	m.requests.WithLabelValues(app, caller, source, statusClass(status)).Inc()
	m.overhead.WithLabelValues(app).Observe(overhead.Seconds())
}

// statusClass returns 2xx for 204.
func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return strconv.Itoa(status/100) + "xx"
}

// event counts what a Manager reports.
func (m *metrics) event(e connection.Event) {
	m.connectionEvents.WithLabelValues(e.App, string(e.Kind)).Inc()
	switch e.Kind {
	case connection.EventRefreshed:
		m.refreshes.WithLabelValues(e.App, "ok").Inc()
		m.refreshDuration.WithLabelValues(e.App).Observe(e.Duration.Seconds())
		m.lastRefresh.WithLabelValues(e.App).SetToCurrentTime()
	case connection.EventRefreshFailed, connection.EventReauthRequired:
		m.refreshes.WithLabelValues(e.App, "failed").Inc()
	case connection.EventAppAlarm:
		m.appAlarm.WithLabelValues(e.App, e.Reason).Set(1)
	case connection.EventAppAlarmCleared:
		m.appAlarm.WithLabelValues(e.App, e.Reason).Set(0)
	}
}

// connectionCounts collects the number of connections by status when it is
// asked.
type connectionCounts struct {
	desc     *prometheus.Desc
	pending  *prometheus.Desc
	timeLeft *prometheus.Desc
	managers sync.Map // of *connection.Manager to the app's name
}

// add has a manager counted until remove is called.
func (c *connectionCounts) add(app string, m *connection.Manager) (remove func()) {
	c.managers.Store(m, app)
	return func() { c.managers.Delete(m) }
}

// Describe implements [prometheus.Collector].
func (c *connectionCounts) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.desc
	descs <- c.pending
	descs <- c.timeLeft
}

// Collect implements [prometheus.Collector].
func (c *connectionCounts) Collect(collected chan<- prometheus.Metric) {
	// After a change of settings an app has two managers for a moment.
	sums := make(map[[2]string]int)
	pending := make(map[string]int)
	timeLeft := make(map[string]time.Duration)
	for key, value := range c.managers.Range {
		manager, app := key.(*connection.Manager), value.(string)
		for status, n := range manager.Known() {
			sums[[2]string{app, string(status)}] += n
		}
		pending[app] += manager.Pending()
		if left, ok := manager.TimeLeft(); ok {
			if least, known := timeLeft[app]; !known || left < least {
				timeLeft[app] = left
			}
		}
	}
	for app, n := range pending {
		collected <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(n), app)
	}
	for app, left := range timeLeft {
		collected <- prometheus.MustNewConstMetric(c.timeLeft, prometheus.GaugeValue, left.Seconds(), app)
	}
	for labels, n := range sums {
		collected <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), labels[0], labels[1])
	}
}

// measuredStore measures a store's operations.
type measuredStore struct {
	connection.Store
	name    string
	metrics *metrics
}

func (s *measuredStore) measure(operation string, begun time.Time, err error) {
	s.metrics.storeOperation(s.name, operation, begun, err)
}

// storeOperation notes an operation of a store that has ended now.
func (m *metrics) storeOperation(store, operation string, begun time.Time, err error) {
	m.storeOperations.WithLabelValues(store, operation, storeResult(err)).Observe(time.Since(begun).Seconds())
}

// storeResult names the outcome of a store's operation.
func storeResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, connection.ErrNotFound):
		return "not_found"
	case errors.Is(err, connection.ErrConflict):
		return "conflict"
	case errors.Is(err, connection.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, connection.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, connection.ErrDenied):
		return "denied"
	}
	return "error"
}

func (s *measuredStore) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	begun := time.Now()
	record, err := s.Store.Load(ctx, key)
	s.measure("load", begun, err)
	return record, err
}

func (s *measuredStore) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	begun := time.Now()
	version, err := s.Store.Save(ctx, r, based)
	s.measure("save", begun, err)
	return version, err
}

func (s *measuredStore) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	begun := time.Now()
	err := s.Store.Erase(ctx, key, keep)
	s.measure("erase", begun, err)
	return err
}

func (s *measuredStore) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	begun := time.Now()
	page, err := s.Store.List(ctx, app, cursor, limit)
	s.measure("list", begun, err)
	return page, err
}
