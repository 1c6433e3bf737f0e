package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// QuotaWaited notes that a request waited for quota; waits of nothing are
// those of requests that were refused at once.
func (m *Metrics) QuotaWaited(app string, limit hubspot.Limit, result string, d time.Duration) {
	m.quotaWaits.WithLabelValues(app, limitName(limit), result).Observe(d.Seconds())
}

// Results of a wait for quota.
const (
	QuotaServed  = "served"
	QuotaRefused = "refused"
	QuotaGone    = "gone"
)

func limitName(limit hubspot.Limit) string {
	switch limit {
	case hubspot.SearchLimit:
		return "search"
	case hubspot.JournalLimit:
		return "journal"
	}
	return "burst"
}

// headrooms collects what is left of the quotas when it is asked.
type headrooms struct {
	desc     *prometheus.Desc
	limiters sync.Map // of *quota.Limiter to the app's name
}

// WatchQuota has the headroom of an app's limiter collected until remove is
// called.
func (m *Metrics) WatchQuota(app string, l *quota.Limiter) (remove func()) {
	m.headroom.limiters.Store(l, app)
	return func() { m.headroom.limiters.Delete(l) }
}

// Describe implements [prometheus.Collector].
func (h *headrooms) Describe(descs chan<- *prometheus.Desc) { descs <- h.desc }

// Collect implements [prometheus.Collector].
func (h *headrooms) Collect(collected chan<- prometheus.Metric) {
	// After a change of settings an app has two limiters for a moment.
	least := make(map[string]float64)
	for limiter, app := range h.limiters.Range {
		left := limiter.(*quota.Limiter).Headroom()
		if known, ok := least[app.(string)]; !ok || left < known {
			least[app.(string)] = left
		}
	}
	for app, left := range least {
		collected <- prometheus.MustNewConstMetric(h.desc, prometheus.GaugeValue, left, app)
	}
}
