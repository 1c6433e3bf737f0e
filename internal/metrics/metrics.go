// Package metrics has the sidecar's Prometheus collectors, with a method for
// each thing that is measured. No label holds a user or a portal: both are
// without bound, and private.
package metrics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sunset"
)

// Metrics are the collectors of a process. Make them once with [New]; what is
// not registered counts all the same. They are safe for concurrent use.
type Metrics struct {
	// Endings counts who calls endpoints that HubSpot ends.
	Endings *sunset.Watch
	// Webhooks measures what HubSpot sends.
	Webhooks *Webhooks

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
	secrets          *secretUses
	auditLost        *prometheus.CounterVec
	userLevel        *prometheus.CounterVec
	journalEvents    *prometheus.CounterVec
	journalRead      *prometheus.GaugeVec
	endings          *endingCounts
	apps             apps
}

// Where an answer comes from, in the metric of requests.
const (
	SourceHubSpot = "hubspot"
	SourceSidecar = "sidecar"
)

// Results of a refresh.
const (
	refreshOK     = "ok"
	refreshFailed = "failed"
)

// New makes the collectors.
func New() *Metrics {
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
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(ns, sub, name), help, labels, nil)
	}
	endings := new(sunset.Watch)
	m := &Metrics{
		Endings:  endings,
		Webhooks: newWebhooks(),
		endings: &endingCounts{
			watch: endings,
			calls: desc("ending_calls_total", "Calls to endpoints that HubSpot ends within a year or has ended, by their family.",
				"app", "caller", "family"),
			days: desc("ending_days_left", "Days until HubSpot ends a family of endpoints that is in use; below zero after its end.",
				"app", "family"),
		},
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
		quotaWaits: histogram("quota_wait_seconds", "Time that requests which found no place in the quota at once waited for one, by quota (burst, search or journal) and result (served, refused, or gone if the client was).",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "app", "quota", "result"),
		retries: counter("retries_total", "Requests sent to HubSpot once more, by reason: limited, locked, gateway, broken, unsent, hublet for one to another data centre of HubSpot, or token for one with another access token.",
			"app", "reason"),
		journalEvents: counter("journal_events_total", "Events of the webhooks journal that this process has read, by kind (install, uninstall or uninstall_of_one_person).",
			"app", "event"),
		journalRead: gauge("journal_read_timestamp_seconds", "When the webhooks journal was last read to its end, by any process, in Unix time.",
			"app"),
		auditLost: counter("audit_lost_total", "Calls that went on without a line in the audit log, because that could not be written."),
		dryRunRefusals: counter("dry_run_refusals_total", "What the policy of a caller with dry_run would have refused, by dimension (app, user, method or path).",
			"app", "caller", "dimension"),
		userLevel: counter("user_level_refusals_total", "Calls that HubSpot refused because their token is a user-level one, by what came of it: served by the fallback_app, none where there is none, or why it could not be.",
			"app", "fallback"),
		tokensRemoved: counter("tokens_removed_total", "Access tokens that HubSpot sent back and that were removed from the answer, by where they were (header or body).",
			"app", "where"),
		headroom: &headrooms{desc: desc("quota_headroom_ratio",
			"The part of the quota that is left on the portal closest to its quota, between 0 and 1.", "app")},
		freezes: &freezeCounts{desc: desc("freezes", "Freezes that are in force in this process.")},
		secrets: &secretUses{desc: desc("client_secret_last_needed_timestamp_seconds",
			"When this process last needed a client secret, in Unix time, for apps that have two, by the setting that it stands in and what it was needed for.",
			"app", "setting", "for")},
		connections: &connectionCounts{
			desc: desc("connections", "Connections that this process has in memory, by status.", "app", "status"),
			pending: desc("pending_writes", "Connections whose newest tokens are in memory only, because the store does not take them.",
				"app"),
			troubled: desc("connections_troubled", "Connections in memory that HubSpot refuses for a reason of their own.", "app"),
			timeLeft: desc("time_left_seconds",
				"Time until the first connection in use has no valid access token, if no refresh worked from now on.", "app"),
			budget: desc("refresh_budget_per_second", "Refreshes of access tokens that this process may make in a second now: refresh_quota, or what was found out, less what HubSpot's 429s have taken.",
				"app"),
			waiting: desc("refreshes_waiting", "Refreshes of access tokens that wait for their turn in the budget.", "app"),
		},
	}
	m.AuditLost(0)
	return m
}

// Register has a registry collect everything. A registry that has it already
// is no error: configs of one process may share one.
func (m *Metrics) Register(registry prometheus.Registerer) error {
	all := []prometheus.Collector{
		m.requests, m.overhead, m.connectionEvents, m.refreshes, m.refreshDuration,
		m.lastRefresh, m.storeOperations, m.appAlarm, m.connections,
		m.quotaWaits, m.retries, m.headroom, m.freezes, m.secrets, m.auditLost, m.dryRunRefusals,
		m.tokensRemoved, m.userLevel, m.endings, m.journalEvents, m.journalRead,
	}
	for _, c := range append(all, m.Webhooks.collectors()...) {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// Request counts an answer of the proxy. source is [SourceHubSpot] or
// [SourceSidecar]; caller is empty for a request without a key; overhead is
// the time that the sidecar added.
func (m *Metrics) Request(app, caller, source string, status int, overhead time.Duration) {
	m.requests.WithLabelValues(app, caller, source, statusClass(status)).Inc()
	m.overhead.WithLabelValues(app).Observe(overhead.Seconds())
}

// statusClass returns 2xx for 204.
func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}[status/100-1]
}

// Event counts what a Manager reports.
func (m *Metrics) Event(e connection.Event) {
	m.connectionEvents.WithLabelValues(e.App, string(e.Kind)).Inc()
	switch e.Kind {
	case connection.EventRefreshed:
		m.refreshes.WithLabelValues(e.App, refreshOK).Inc()
		m.refreshDuration.WithLabelValues(e.App).Observe(e.Duration.Seconds())
		m.lastRefresh.WithLabelValues(e.App).SetToCurrentTime()
	case connection.EventRefreshFailed, connection.EventReauthRequired:
		if e.Reason == connection.ReasonUninstalled {
			return // learnt without a refresh
		}
		m.refreshes.WithLabelValues(e.App, refreshFailed).Inc()
	case connection.EventAppAlarm:
		m.appAlarm.WithLabelValues(e.App, e.Reason).Set(1)
	case connection.EventAppAlarmCleared:
		m.appAlarm.WithLabelValues(e.App, e.Reason).Set(0)
	}
}

// Retried counts a request that was sent to HubSpot once more, and why.
func (m *Metrics) Retried(app, reason string) { m.retries.WithLabelValues(app, reason).Inc() }

// DryRunRefusal counts what the policy of a caller with dry_run would have
// refused.
func (m *Metrics) DryRunRefusal(app, caller, dimension string) {
	m.dryRunRefusals.WithLabelValues(app, caller, dimension).Inc()
}

// Where an access token was found that HubSpot sent back.
const (
	InHeader = "header"
	InBody   = "body"
)

// TokensRemoved counts access tokens that were taken out of an answer; where
// is [InHeader] or [InBody].
func (m *Metrics) TokensRemoved(app, where string, n int) {
	m.tokensRemoved.WithLabelValues(app, where).Add(float64(n))
}

// AuditLost counts calls that went on without a line in the audit log.
func (m *Metrics) AuditLost(n int) { m.auditLost.WithLabelValues().Add(float64(n)) }

// UserLevelRefused counts a call that HubSpot refused because its token is a
// user-level one; fallback is what came of it.
func (m *Metrics) UserLevelRefused(app, fallback string) {
	m.userLevel.WithLabelValues(app, fallback).Inc()
}
