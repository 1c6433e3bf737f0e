package connection

import (
	"maps"
	"sync"
	"time"
)

// AlarmReason says what is wrong with a whole app.
type AlarmReason string

const (
	// AlarmMisconfigured: HubSpot refuses the app's own credentials or its
	// redirect URI.
	AlarmMisconfigured AlarmReason = "app_misconfigured"
	// AlarmDeadGrants: so many grants were called dead at once that the
	// fault is more likely ours or HubSpot's than the users'.
	AlarmDeadGrants AlarmReason = "dead_grants"
)

const (
	// deadWindow, deadMin and deadShare make the dead-grant alarm: more
	// than deadMin connections, and more than one in deadShare of the
	// refreshes, within the window.
	deadWindow = 5 * time.Minute
	deadMin    = 5
	deadShare  = 5
	// deadHold is how long a connection is left alone whose dead grant is
	// held: longer than the window, so that held ones do not feed it.
	deadHold = deadWindow + time.Minute
)

// alarms keeps what concerns all connections of an app. It is safe for
// concurrent use; requests that have a token do not touch it.
type alarms struct {
	mu    sync.Mutex
	pause pause
	// raised holds the alarms that last.
	raised map[AlarmReason]time.Time
	// refreshes are the times of successful refreshes within the window,
	// deaths the users whose grants were called dead, with the time.
	refreshes []time.Time
	deaths    map[string]time.Time
}

func newAlarms() *alarms {
	return &alarms{raised: make(map[AlarmReason]time.Time), deaths: make(map[string]time.Time)}
}

// admit returns nil if user may refresh now. While the app is paused, one
// user may every probeEvery.
func (a *alarms) admit(user string, now time.Time) *HeldBack {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := a.pause.admit(user, now)
	if wait <= 0 {
		return nil
	}
	return &HeldBack{Reason: HeldAppPaused, RetryAfter: wait, cause: a.pause.cause}
}

// misconfigured pauses the app after user's refresh met cause. It reports
// whether the alarm is new.
func (a *alarms) misconfigured(user string, now time.Time, cause error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pause.refuse(user, now, cause)
	return a.raise(AlarmMisconfigured, now)
}

// dead counts a grant that was called dead. It reports whether its status is
// to be held, and whether that raised the alarm.
func (a *alarms) dead(user string, now time.Time) (hold, raised bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deaths[user] = now
	a.prune(now)
	if !a.manyDead() {
		return false, false
	}
	return true, a.raise(AlarmDeadGrants, now)
}

// succeeded counts a refresh that worked, which ends a pause. It returns the
// alarms that are over.
func (a *alarms) succeeded(now time.Time) []AlarmReason {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pause = pause{}
	a.refreshes = append(a.refreshes, now)
	a.prune(now)
	var over []AlarmReason
	for reason := range a.raised {
		if reason == AlarmMisconfigured || !a.manyDead() {
			delete(a.raised, reason)
			over = append(over, reason)
		}
	}
	return over
}

func (a *alarms) manyDead() bool {
	deaths := len(a.deaths)
	return deaths > deadMin && deaths*deadShare > deaths+len(a.refreshes)
}

func (a *alarms) raise(reason AlarmReason, now time.Time) bool {
	if _, lasts := a.raised[reason]; lasts {
		return false
	}
	a.raised[reason] = now
	return true
}

func (a *alarms) prune(now time.Time) {
	start := now.Add(-deadWindow)
	kept := 0
	for kept < len(a.refreshes) && a.refreshes[kept].Before(start) {
		kept++
	}
	a.refreshes = a.refreshes[kept:]
	for user, at := range a.deaths {
		if at.Before(start) {
			delete(a.deaths, user)
		}
	}
}

// Alarms returns the app's alarms that last, with the time since when.
func (m *Manager) Alarms() map[AlarmReason]time.Time {
	m.alarms.mu.Lock()
	defer m.alarms.mu.Unlock()
	lasting := make(map[AlarmReason]time.Time, len(m.alarms.raised))
	maps.Copy(lasting, m.alarms.raised)
	return lasting
}
