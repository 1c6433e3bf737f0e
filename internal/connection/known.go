package connection

import "time"

// Known counts the connections that are in memory by their status: those
// that this process has read or written lately. It looks at each of them.
func (m *Manager) Known() map[Status]int {
	counts := make(map[Status]int, 3)
	for _, v := range m.cache.all() {
		if !v.missing {
			counts[v.Status]++
		}
	}
	return counts
}

// Remembers reports whether memory answers for the connection of user, so that
// [Manager.Token] does not have to look it up in the store: it is known, or was
// found missing a moment ago.
func (m *Manager) Remembers(user string) bool {
	e := m.cache.get(user)
	if e == nil {
		return false
	}
	v := e.view.Load()
	return v != nil && (!v.missing || time.Since(v.readAt) < negativeLife)
}

// GrantedScopes are those that user has granted, as far as memory knows the
// connection; nil otherwise. They are not to be written to.
func (m *Manager) GrantedScopes(user string) []string {
	e := m.cache.get(user)
	if e == nil {
		return nil
	}
	v := e.view.Load()
	if v == nil || v.refusesAll() {
		return nil
	}
	return v.Scopes
}

// TimeLeft is how long it would be until the first connection in use has no
// valid access token any more, if no refresh worked from now on: the time
// that operators have to end an outage. ok is false if none is in use.
func (m *Manager) TimeLeft() (left time.Duration, ok bool) {
	for e, v := range m.cache.all() {
		if v.Status != StatusActive || v.missing || v.Static || !e.usedSince(v.IssuedAt) {
			continue
		}
		if until := max(time.Until(v.ExpiresAt), 0); !ok || until < left {
			left, ok = until, true
		}
	}
	return left, ok
}

// Pending counts the connections whose newest tokens are in memory only,
// because the store has not taken them yet.
func (m *Manager) Pending() int {
	pending := 0
	for e := range m.cache.all() {
		if e.hasPending() {
			pending++
		}
	}
	return pending
}
