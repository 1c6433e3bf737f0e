package connection

import (
	"time"
)

// adopt makes what the store has known in the process, unless something
// newer is known already, and plans the connection's next background job. It
// returns the view that holds now.
func (m *Manager) adopt(e *entry, stored Versioned) *view {
	m.learn(stored.Record)
	fresh := m.newView(stored, time.Now())
	for {
		old := e.view.Load()
		if old != nil && !old.missing {
			if old.newerThan(stored) || e.hasPending() {
				return old
			}
			if old.AccessToken.Equal(stored.AccessToken) {
				// Drawing again would pull the refresh forward each time.
				fresh.draw = old.draw
				fresh.refreshAt = m.refreshPoint(stored.Record, old.draw)
			}
		}
		if e.view.CompareAndSwap(old, fresh) {
			if old != nil && old.IssuedAt.Before(stored.IssuedAt) {
				// An install or another process was given new tokens.
				m.troubleOver(e, stored.Record)
			}
			m.planNext(e, fresh)
			m.keepCopy(e, stored)
			m.holdsAnew(stored)
			return fresh
		}
	}
}

func (m *Manager) newView(v Versioned, readAt time.Time) *view {
	draw := m.draw()
	return &view{Versioned: v, readAt: readAt, draw: draw, refreshAt: m.refreshPoint(v.Record, draw)}
}

// newerThan reports whether the store's answer is an old one: from a standby
// that lags, say. Versions start again where an operator purged a record; an
// install after that is not old.
func (v *view) newerThan(stored Versioned) bool {
	if stored.Generation != v.Generation && stored.ConnectedAt.After(v.ConnectedAt) {
		return false
	}
	return stored.Version < v.Version
}

// adoptMissing notes that the store has no record. A live token is not given
// up for that: a wrong mount or a proxy's own 404 looks the same.
func (m *Manager) adoptMissing(e *entry) error {
	old := e.view.Load()
	if old.usable(time.Now()) {
		m.planNext(e, old)
		return nil
	}
	e.view.CompareAndSwap(old, &view{missing: true, readAt: time.Now()})
	return ErrNotConnected
}

// planNext plans the refresh of v, or the next look at its record if that
// comes first. Connections without a token are only looked at when asked for.
func (m *Manager) planNext(e *entry, v *view) {
	if !v.usable(time.Now()) {
		return
	}
	next := time.Now().Add(m.jitter(rereadEvery))
	if v.Status == StatusActive && v.refreshAt.Before(next) {
		next = v.refreshAt
	}
	if floor := time.Now().Add(m.untilRetry(e, nil)); next.Before(floor) {
		next = floor
	}
	m.schedule.plan(e, next)
}

// learn notes what one record tells about HubSpot as the app sees it.
func (m *Manager) learn(r Record) {
	if r.Rotates {
		m.rotates.Store(true)
	}
}
