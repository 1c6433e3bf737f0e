package metrics

import "time"

// JournalEvents implements the observer of package journal.
func (m *Metrics) JournalEvents(app, event string, n int) {
	m.journalEvents.WithLabelValues(app, event).Add(float64(n))
}

// JournalRead implements it.
func (m *Metrics) JournalRead(app string, at time.Time) {
	m.journalRead.WithLabelValues(app).Set(float64(at.Unix()))
}
