package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// freezeCounts collects the number of freezes when it is asked.
type freezeCounts struct {
	desc    *prometheus.Desc
	keepers sync.Map // of *freeze.Keeper to nothing
}

// CountFreezes has a keeper's freezes counted until remove is called.
func (m *Metrics) CountFreezes(k *freeze.Keeper) (remove func()) {
	m.freezes.keepers.Store(k, struct{}{})
	return func() { m.freezes.keepers.Delete(k) }
}

// Describe implements [prometheus.Collector].
func (c *freezeCounts) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements [prometheus.Collector].
func (c *freezeCounts) Collect(collected chan<- prometheus.Metric) {
	// After a change of settings a store has two keepers for a moment.
	most := 0
	for keeper := range c.keepers.Range {
		most = max(most, len(keeper.(*freeze.Keeper).Report().Freezes))
	}
	collected <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(most))
}
