package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// apps counts the managers of each app: while settings change, an app has two.
type apps struct {
	mu       sync.Mutex
	managers map[string]int
}

// BeginApp shows what has not happened yet to an app whose manager has just been
// made: no alarm is raised, and counters are 0. A series that appears with its
// first event only cannot be told from one that is not collected, and alerts
// miss the event. After the end of the last manager the app has no alarms.
func (m *Metrics) BeginApp(app string) (end func()) {
	m.apps.mu.Lock()
	defer m.apps.mu.Unlock()
	if m.apps.managers == nil {
		m.apps.managers = make(map[string]int)
	}
	m.apps.managers[app]++
	for _, reason := range connection.AlarmReasons() {
		m.appAlarm.WithLabelValues(app, string(reason)).Set(0)
	}
	for _, where := range [...]string{InHeader, InBody} {
		m.TokensRemoved(app, where, 0)
	}
	for _, kind := range [...]connection.EventKind{connection.EventConnected, connection.EventDisconnected, connection.EventReauthRequired, connection.EventHealed} {
		m.connectionEvents.WithLabelValues(app, string(kind)).Add(0)
	}
	for _, result := range [...]string{refreshOK, refreshFailed} {
		m.refreshes.WithLabelValues(app, result).Add(0)
	}
	return sync.OnceFunc(func() { m.endApp(app) })
}

func (m *Metrics) endApp(app string) {
	m.apps.mu.Lock()
	defer m.apps.mu.Unlock()
	if m.apps.managers[app]--; m.apps.managers[app] > 0 {
		return
	}
	delete(m.apps.managers, app)
	m.appAlarm.DeletePartialMatch(prometheus.Labels{"app": app})
	m.journalRead.DeletePartialMatch(prometheus.Labels{"app": app})
}
