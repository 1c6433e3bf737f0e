package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// secretUses collects, when it is asked, when the client secrets of apps that
// have two were last needed.
type secretUses struct {
	desc *prometheus.Desc
	apps sync.Map // of *hubapp.App
}

// ShowRotation has the metrics show for what the client secrets of an app were
// last needed, while there are two, until remove is called.
func (m *Metrics) ShowRotation(app *hubapp.App) (remove func()) {
	m.secrets.apps.Store(app, nil)
	return func() { m.secrets.apps.Delete(app) }
}

// Describe implements [prometheus.Collector].
func (c *secretUses) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements [prometheus.Collector].
func (c *secretUses) Collect(collected chan<- prometheus.Metric) {
	// After a change of settings an app is there twice for a moment.
	last := make(map[[3]string]time.Time)
	for key := range c.apps.Range {
		app := key.(*hubapp.App)
		for _, use := range app.Rotation() {
			for purpose, at := range use.Uses {
				labels := [3]string{app.Name, use.Setting, string(purpose)}
				if at.After(last[labels]) {
					last[labels] = at
				}
			}
		}
	}
	for labels, at := range last {
		collected <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(at.UnixMilli())/1000, labels[:]...)
	}
}
