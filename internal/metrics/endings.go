package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sunset"
)

// endingCounts collects, when it is asked, who calls endpoints that HubSpot
// ends.
type endingCounts struct {
	watch       *sunset.Watch
	calls, days *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *endingCounts) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.calls
	descs <- c.days
}

// Collect implements [prometheus.Collector].
func (c *endingCounts) Collect(collected chan<- prometheus.Metric) {
	type family struct{ app, name string }
	seen := make(map[family]bool)
	now := time.Now()
	for _, u := range c.watch.Uses() {
		collected <- prometheus.MustNewConstMetric(c.calls, prometheus.CounterValue, float64(u.Calls), u.App, u.Caller, u.Family)
		if f := (family{u.App, u.Family}); !seen[f] {
			seen[f] = true
			collected <- prometheus.MustNewConstMetric(c.days, prometheus.GaugeValue, float64(u.DaysLeft(now)), u.App, u.Family)
		}
	}
}
