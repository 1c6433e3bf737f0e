package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// connectionCounts collects the number of connections by status when it is
// asked.
type connectionCounts struct {
	desc     *prometheus.Desc
	pending  *prometheus.Desc
	troubled *prometheus.Desc
	timeLeft *prometheus.Desc
	budget   *prometheus.Desc
	waiting  *prometheus.Desc
	managers sync.Map // of *connection.Manager to the app's name
}

// CountConnections has the connections of an app's manager counted until
// remove is called.
func (m *Metrics) CountConnections(app string, manager *connection.Manager) (remove func()) {
	m.connections.managers.Store(manager, app)
	return func() { m.connections.managers.Delete(manager) }
}

// Describe implements [prometheus.Collector].
func (c *connectionCounts) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.desc
	descs <- c.pending
	descs <- c.troubled
	descs <- c.timeLeft
	descs <- c.budget
	descs <- c.waiting
}

// Collect implements [prometheus.Collector].
func (c *connectionCounts) Collect(collected chan<- prometheus.Metric) {
	// After a change of settings an app has two managers for a moment.
	sums := make(map[[2]string]int)
	pending := make(map[string]int)
	troubled := make(map[string]int)
	timeLeft := make(map[string]time.Duration)
	budgets := make(map[string]connection.RefreshBudget)
	for key, value := range c.managers.Range {
		manager, app := key.(*connection.Manager), value.(string)
		for status, n := range manager.Known() {
			sums[[2]string{app, string(status)}] += n
		}
		pending[app] += manager.Pending()
		troubled[app] += manager.Troubled()
		budget := manager.RefreshBudget()
		budget.Waiting += budgets[app].Waiting
		budgets[app] = budget
		if left, ok := manager.TimeLeft(); ok {
			if least, known := timeLeft[app]; !known || left < least {
				timeLeft[app] = left
			}
		}
	}
	for app, n := range pending {
		collected <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(n), app)
	}
	for app, n := range troubled {
		collected <- prometheus.MustNewConstMetric(c.troubled, prometheus.GaugeValue, float64(n), app)
	}
	for app, left := range timeLeft {
		collected <- prometheus.MustNewConstMetric(c.timeLeft, prometheus.GaugeValue, left.Seconds(), app)
	}
	for app, b := range budgets {
		collected <- prometheus.MustNewConstMetric(c.budget, prometheus.GaugeValue, b.PerSecond, app)
		collected <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(b.Waiting), app)
	}
	for labels, n := range sums {
		collected <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), labels[0], labels[1])
	}
}
