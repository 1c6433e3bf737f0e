package connection

import (
	"errors"
	"time"
)

// Fallback keeps copies of connections outside the store, for a process that
// starts while the store is down. It is written when a connection is read
// from or written to the store, and read only when the store cannot be. It
// is safe for concurrent use.
type Fallback interface {
	// Keep replaces the copy of a connection.
	Keep(v Versioned) error
	// Recall returns the copy and when it was made. ErrNotFound means that
	// there is none, or none that is young enough.
	Recall(key Key) (Versioned, time.Time, error)
	// Forget removes the copy, if there is one.
	Forget(key Key) error
}

// keptFor is how long a copy of an unchanged record is left as it is. Its age
// counts from when the store last confirmed it.
const keptFor = time.Hour

// keepCopy brings the copy of a connection up to date. A copy that cannot be
// written is reported and otherwise none of the callers' business.
func (m *Manager) keepCopy(e *entry, v Versioned) {
	if m.config.Fallback == nil {
		return
	}
	e.copyMu.Lock()
	defer e.copyMu.Unlock()
	var err error
	switch {
	case v.Status == StatusDisconnected, v.Status == StatusDisconnecting:
		err = m.config.Fallback.Forget(v.Key)
	case v.Version == e.copied.Version && v.AccessToken.Equal(e.copied.AccessToken) && time.Since(e.copiedAt) < keptFor:
		return
	default:
		err = m.config.Fallback.Keep(v)
	}
	if err != nil {
		m.emitFor(v.Record, Event{Kind: EventFallbackFailed, Err: err})
		return
	}
	e.copied, e.copiedAt = v, time.Now()
}

// recall takes the copy of a connection that is not known yet, while the
// store does not answer. It returns nil if there is none.
func (m *Manager) recall(e *entry) *view {
	if m.config.Fallback == nil {
		return nil
	}
	v, kept, err := m.config.Fallback.Recall(m.key(e.user))
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			m.emitFor(Record{Key: m.key(e.user)}, Event{Kind: EventFallbackFailed, Err: err})
		}
		return nil
	}
	m.learn(v.Record)
	recalled := m.newView(v, kept)
	if !e.view.CompareAndSwap(nil, recalled) {
		return e.view.Load()
	}
	m.emitFor(v.Record, Event{Kind: EventFallbackUsed})
	return recalled
}

// unsaved reports whether v has tokens that the store has yet to see: it was
// recalled from the copy of a process that ended before it could write them.
func (v *view) unsaved(stored Versioned) bool {
	return v != nil && v.Version == stored.Version && v.Generation == stored.Generation &&
		v.Status == StatusActive && stored.Status == StatusActive &&
		v.IssuedAt.After(stored.IssuedAt)
}
