package connection

import (
	"errors"
	"fmt"
	"time"
)

// HoldReason says what holds a refresh back.
type HoldReason string

const (
	// HeldAppPaused: HubSpot refuses the app's own credentials, so that its
	// refreshes rest but for a probe now and then.
	HeldAppPaused HoldReason = "app_paused"
	// HeldBackoff: the last refresh of the connection failed, and the next
	// try has its time.
	HeldBackoff HoldReason = "backoff"
	// HeldRefreshedRecently: the connection was refreshed on demand a moment
	// ago.
	HeldRefreshedRecently HoldReason = "refreshed_recently"
	// HeldRefreshQuota: more refreshes of the app wait for their turn at the
	// token endpoint than there is time for.
	HeldRefreshQuota HoldReason = "refresh_quota"
)

// HeldBack is the error for a refresh that was not tried, because something
// holds it back that passes. It wraps ErrAppMisconfigured if the app is
// paused and ErrTokenUnavailable otherwise, and the failure that led to it,
// if there was one.
type HeldBack struct {
	Reason HoldReason
	// RetryAfter is how long it makes no sense to ask again: an estimate,
	// always positive.
	RetryAfter time.Duration

	cause error
}

// Error names what holds the refresh back, and for how long.
func (h *HeldBack) Error() string {
	text := map[HoldReason]string{
		HeldAppPaused:         "HubSpot refuses the app's credentials, so its refreshes are paused",
		HeldBackoff:           "the last refresh of the connection failed",
		HeldRefreshedRecently: "the connection was refreshed a moment ago",
		HeldRefreshQuota:      "too many refreshes of the app wait for their turn",
	}[h.Reason]
	wait := max(h.RetryAfter.Round(time.Second), time.Second)
	if h.cause == nil {
		return fmt.Sprintf("%s; next try in %s", text, wait)
	}
	return fmt.Sprintf("%s; next try in %s: %v", text, wait, h.cause)
}

// Unwrap returns the sentinel for h and what led to it.
func (h *HeldBack) Unwrap() []error {
	sentinel := ErrTokenUnavailable
	if h.Reason == HeldAppPaused {
		sentinel = ErrAppMisconfigured
	}
	if h.cause == nil {
		return []error{sentinel}
	}
	return []error{sentinel, h.cause}
}

// heldFor returns how long err says that a refresh is held back; zero if it
// is for another reason.
func heldFor(err error) time.Duration {
	if held, ok := errors.AsType[*HeldBack](err); ok {
		return held.RetryAfter
	}
	return 0
}

// mayRefresh holds a refresh back while the connection has to wait for its
// next try or the app is paused. A connection that waits for itself is no
// probe of the app.
func (m *Manager) mayRefresh(e *entry) error {
	if held := e.backingOff(); held != nil {
		return held
	}
	if held := m.alarms.admit(e.user, time.Now()); held != nil {
		return held
	}
	return nil
}

// backingOff is what holds the next try of a failed connection back, or nil.
func (e *entry) backingOff() *HeldBack {
	e.mu.Lock()
	defer e.mu.Unlock()
	wait := time.Until(e.retryAt)
	if wait <= 0 {
		return nil
	}
	return &HeldBack{Reason: HeldBackoff, RetryAfter: wait, cause: e.failure}
}

// held is what would hold a refresh of the connection back now, or nil.
func (m *Manager) held(e *entry) *HeldBack {
	if held := m.alarms.paused(time.Now()); held != nil {
		return held
	}
	return e.backingOff()
}

// forceHeld is the error for a refresh that is not forced again.
func (m *Manager) forceHeld(e *entry) error {
	if held := m.held(e); held != nil {
		return held
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wait := max(forceEvery-time.Since(e.forcedAt), time.Second)
	return &HeldBack{Reason: HeldRefreshedRecently, RetryAfter: wait, cause: e.failure}
}
