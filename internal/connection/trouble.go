package connection

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// trouble is what HubSpot holds against one connection and no other. The
// zero value is none.
type trouble struct {
	reason string
	// since is when it was seen first.
	since time.Time
	// strays counts answers for another portal in a row, the first of which
	// came at strayedAt.
	strays    int
	strayedAt time.Time
}

// notRefreshed notes a refresh that gave no token and leaves the connection's
// status as it is. It returns what callers are told.
func (m *Manager) notRefreshed(e *entry, r Record, err error) error {
	switch class := hubspot.Classify(err); {
	case errors.Is(err, ErrOtherPortal):
		return m.refused(e, r, ReasonPortalChanged, err)
	case class == hubspot.ClassConnection:
		return m.refused(e, r, failureReason(err), err)
	case class == hubspot.ClassMisconfigured:
		return m.appRefused(e, r, err)
	default:
		m.failed(e, backoffMax, retryAfter(err), err)
		m.emitFor(r, Event{Kind: EventRefreshFailed, Reason: failureReason(err), Err: err})
		return fmt.Errorf("%w: %w", ErrTokenUnavailable, err)
	}
}

// appRefused pauses the app, unless HubSpot refuses it to this connection
// only.
func (m *Manager) appRefused(e *entry, r Record, err error) error {
	alone, raised := m.alarms.misconfigured(e.user, time.Now(), err)
	if alone {
		return m.refused(e, r, failureReason(err), err)
	}
	if raised {
		m.emit(Event{Kind: EventAppAlarm, Reason: string(AlarmMisconfigured), Err: err})
	}
	m.emitFor(r, Event{Kind: EventRefreshFailed, Reason: failureReason(err), Err: err})
	return fmt.Errorf("%w: %w", ErrAppMisconfigured, err)
}

// refused does what a refusal of one connection calls for: it waits longer
// and longer, has an alarm of its own, and keeps its status. Others go on; if
// many are refused, the app has an alarm too.
func (m *Manager) refused(e *entry, r Record, reason string, cause error) error {
	m.failed(e, troubleBackoffMax, retryAfter(cause), cause)
	m.emitFor(r, Event{Kind: EventRefreshFailed, Reason: reason, Err: cause})
	if e.troubled(reason) {
		m.emitFor(r, Event{Kind: EventConnectionAlarm, Reason: reason, Err: cause})
	}
	if m.alarms.refused(e.user, time.Now()) {
		m.emit(Event{Kind: EventAppAlarm, Reason: string(AlarmManyRefused), Err: cause})
	}
	return fmt.Errorf("%w: %w", ErrTokenUnavailable, cause)
}

// troubled notes the trouble of a connection. It reports whether that, or its
// reason, is new.
func (e *entry) troubled(reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.trouble.since.IsZero() {
		e.trouble.since = time.Now()
	} else if e.trouble.reason == reason {
		return false
	}
	e.trouble.reason = reason
	return true
}

// troubleOver ends the trouble of the connection that r is of, if it had any.
func (m *Manager) troubleOver(e *entry, r Record) {
	e.mu.Lock()
	over := e.trouble
	e.trouble = trouble{}
	e.mu.Unlock()
	if over.since.IsZero() {
		return
	}
	m.alarms.relieved(e.user)
	m.emitFor(r, Event{Kind: EventConnectionAlarmCleared, Reason: over.reason, Duration: time.Since(over.since)})
}

// alarm is the reason of the connection's trouble and since when it lasts.
func (e *entry) alarm() (reason string, since time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble.reason, e.trouble.since
}

// Troubled counts the connections in memory that HubSpot refuses for a reason
// of their own: see [EventConnectionAlarm]. It looks at each of them.
func (m *Manager) Troubled() int {
	n := 0
	for e := range m.cache.all() {
		if _, since := e.alarm(); !since.IsZero() {
			n++
		}
	}
	return n
}

// failureReason is HubSpot's word for a refresh that failed; empty if it was
// not HubSpot's token endpoint that failed.
func failureReason(err error) string {
	if refusal, ok := errors.AsType[*hubspot.TokenError](err); ok {
		return refusal.Reason()
	}
	return ""
}
