package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Webhooks are the collectors of what HubSpot sends. They implement
// [webhook.Observer] and [webhookdelivery.Observer].
type Webhooks struct {
	received       *prometheus.CounterVec
	events         *prometheus.CounterVec
	attempts       *prometheus.HistogramVec
	unknownPortals *prometheus.CounterVec
	queues         *webhookQueues
}

// Events that were queued, and those that were known.
const (
	eventsQueued    = "queued"
	eventsDuplicate = "duplicate"
)

func newWebhooks() *Webhooks {
	const ns, sub = "caddy", "hubspot"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(ns, sub, name), help, labels, nil)
	}
	return &Webhooks{
		received: counter("webhooks_received_total",
			"Requests to hubspot_webhook, by what came of them: passed, queued, full or failed, or why they were refused: signature, timestamp, replay or size.",
			"app", "result"),
		events: counter("webhook_events_total",
			"Events of HubSpot's, by what came of them: queued, duplicate, or, for each attempt to deliver them, delivered, failed or dead.",
			"app", "result"),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "webhook_attempt_duration_seconds",
			Help:    "Time that the app behind took to answer a delivery, by result (delivered, failed or dead).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"app", "result"}),
		unknownPortals: counter("webhook_unknown_portals_total", "Messages that were delivered of portals without a connection.", "app"),
		queues: &webhookQueues{
			messages: desc("webhook_queue_messages", "Messages in the queue, by state (waiting or dead).", "app", "state"),
			bytes:    desc("webhook_queue_bytes", "Bytes that the queue takes.", "app"),
			maxBytes: desc("webhook_queue_max_bytes", "Bytes that the queue may take.", "app"),
			oldest:   desc("webhook_queue_oldest_seconds", "Age of the oldest message that waits; 0 if none does.", "app"),
		},
	}
}

func (w *Webhooks) collectors() []prometheus.Collector {
	return []prometheus.Collector{w.received, w.events, w.attempts, w.unknownPortals, w.queues}
}

// Begin shows what has not happened yet to an app's webhooks as 0.
func (w *Webhooks) Begin(app string, queued bool) {
	for _, result := range webhook.Results(queued) {
		w.received.WithLabelValues(app, result)
	}
	if !queued {
		return
	}
	for _, result := range []string{eventsQueued, eventsDuplicate} {
		w.events.WithLabelValues(app, result)
	}
	for _, result := range webhookdelivery.Results {
		w.events.WithLabelValues(app, string(result))
		w.attempts.WithLabelValues(app, string(result))
	}
	w.unknownPortals.WithLabelValues(app)
}

// Received implements [webhook.Observer].
func (w *Webhooks) Received(app, result string) { w.received.WithLabelValues(app, result).Inc() }

// Queued implements [webhook.Observer].
func (w *Webhooks) Queued(app string, events, duplicates int) {
	w.events.WithLabelValues(app, eventsQueued).Add(float64(events))
	w.events.WithLabelValues(app, eventsDuplicate).Add(float64(duplicates))
}

// Attempted implements [webhookdelivery.Observer].
func (w *Webhooks) Attempted(app string, result webhookdelivery.Result, took time.Duration, events int) {
	w.events.WithLabelValues(app, string(result)).Add(float64(events))
	w.attempts.WithLabelValues(app, string(result)).Observe(took.Seconds())
}

// UnknownPortal implements [webhookdelivery.Observer].
func (w *Webhooks) UnknownPortal(app string) { w.unknownPortals.WithLabelValues(app).Inc() }

// Watch has what a queue holds collected, under the names of the apps that use it,
// until remove is called.
func (w *Webhooks) Watch(apps string, q webhookqueue.Queue) (remove func()) {
	key := new(int)
	w.queues.watched.Store(key, watchedQueue{apps, q})
	return func() { w.queues.watched.Delete(key) }
}

// webhookQueues collects what queues hold when it is asked.
type webhookQueues struct {
	messages, bytes, maxBytes, oldest *prometheus.Desc
	watched                           sync.Map // of *int to watchedQueue
}

type watchedQueue struct {
	apps  string
	queue webhookqueue.Queue
}

// statsTimeout bounds how long a queue may take to say what it holds.
const statsTimeout = 2 * time.Second

// Describe implements [prometheus.Collector].
func (c *webhookQueues) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.bytes, c.maxBytes, c.oldest} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector]. A queue that does not answer is left
// out.
func (c *webhookQueues) Collect(collected chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	seen := make(map[string]bool)
	for _, value := range c.watched.Range {
		w := value.(watchedQueue)
		s, err := w.queue.Stats(ctx)
		if err != nil || seen[w.apps] {
			continue
		}
		seen[w.apps] = true
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			collected <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{w.apps}, labels...)...)
		}
		gauge(c.messages, float64(s.Waiting), "waiting")
		gauge(c.messages, float64(s.Dead), "dead")
		gauge(c.bytes, float64(s.Bytes))
		gauge(c.maxBytes, float64(s.MaxBytes))
		age := 0.0
		if !s.Oldest.IsZero() {
			age = max(time.Since(s.Oldest).Seconds(), 0)
		}
		gauge(c.oldest, age)
	}
}
