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
	// AlarmManyRefused: so many connections are refused at once for reasons
	// that seemed their own that the fault is more likely ours or HubSpot's.
	AlarmManyRefused AlarmReason = "many_refused"
	// AlarmAppToken: HubSpot gives the app no token of its own, for a reason
	// that is not the app's credentials: its scopes, most likely.
	AlarmAppToken AlarmReason = "app_token_refused"
	// AlarmJournal: the webhooks journal cannot be read, so that uninstalls
	// show with the next refresh only.
	AlarmJournal AlarmReason = "journal_unread"
	// AlarmJournalGap: events of the journal may have been lost.
	AlarmJournalGap AlarmReason = "journal_gap"
)

// AlarmReasons returns all reasons of alarms. The slice is the caller's own.
func AlarmReasons() []AlarmReason {
	return []AlarmReason{AlarmMisconfigured, AlarmDeadGrants, AlarmManyRefused, AlarmAppToken, AlarmJournal, AlarmJournalGap}
}

const (
	// deadWindow, deadMin and deadShare make the alarms for many
	// connections: more than deadMin of them, and more than one in deadShare
	// of the refreshes, within the window.
	deadWindow = 5 * time.Minute
	deadMin    = 5
	deadShare  = 5
	// deadHold is how long a connection is left alone whose dead grant is
	// held: longer than the window, so that held ones do not feed it.
	deadHold = deadWindow + time.Minute
	// aloneFor is how long after a refresh of another connection a refusal
	// of the app is taken for that of one connection alone.
	aloneFor = time.Hour
)

// alarms keeps what concerns all connections of an app. It is safe for
// concurrent use; requests that have a token do not touch it.
type alarms struct {
	mu    sync.Mutex
	pause pause
	// raised holds the alarms that last.
	raised map[AlarmReason]time.Time
	// refreshes are the times of successful refreshes within the window,
	// deaths the users whose grants were called dead and refusals those that
	// were refused alone, with the time.
	refreshes []time.Time
	deaths    map[string]time.Time
	refusals  map[string]time.Time
	// alone are users to whom HubSpot refused the app while it took another
	// user's refresh, the last of these at lastGood.
	alone    map[string]bool
	lastGood time.Time
}

func newAlarms() *alarms {
	return &alarms{
		raised:   make(map[AlarmReason]time.Time),
		deaths:   make(map[string]time.Time),
		refusals: make(map[string]time.Time),
		alone:    make(map[string]bool),
	}
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

// paused returns what holds refreshes back if the app is paused and no probe
// may go yet; nil otherwise.
func (a *alarms) paused(now time.Time) *HeldBack {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := a.pause.nextTry.Sub(now)
	if a.pause.nextTry.IsZero() || wait <= 0 {
		return nil
	}
	return &HeldBack{Reason: HeldAppPaused, RetryAfter: wait, cause: a.pause.cause}
}

// misconfigured pauses the app after user's refresh met cause, and reports
// whether that raised the alarm. It does neither, and reports alone, if the
// app was refused to this user before while others were refreshed.
func (a *alarms) misconfigured(user string, now time.Time, cause error) (alone, raised bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pause.nextTry.IsZero() && a.alone[user] && now.Sub(a.lastGood) < aloneFor {
		return true, false
	}
	a.pause.refuse(user, now, cause)
	return false, a.raise(AlarmMisconfigured, now)
}

// refused counts a connection that is refused alone. It reports whether that
// raised the alarm for many.
func (a *alarms) refused(user string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusals[user] = now
	a.prune(now)
	return a.many(a.refusals) && a.raise(AlarmManyRefused, now)
}

// relieved forgets that user was refused.
func (a *alarms) relieved(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.refusals, user)
	delete(a.alone, user)
}

// dead counts a grant that was called dead. It reports whether its status is
// to be held, and whether that raised the alarm.
func (a *alarms) dead(user string, now time.Time) (hold, raised bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deaths[user] = now
	a.prune(now)
	if !a.many(a.deaths) {
		return false, false
	}
	return true, a.raise(AlarmDeadGrants, now)
}

// succeeded counts a refresh of user that worked, which ends a pause. It
// returns the alarms that are over.
func (a *alarms) succeeded(user string, now time.Time) []AlarmReason {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, probe := range a.pause.probes {
		if probe.refused {
			a.alone[other] = true
		}
	}
	if len(a.alone) > maxProbes {
		clear(a.alone) // so many are not alone
	}
	delete(a.alone, user)
	a.pause, a.lastGood = pause{}, now
	a.refreshes = append(a.refreshes, now)
	a.prune(now)
	var over []AlarmReason
	for reason := range a.raised {
		if !a.lasts(reason) {
			delete(a.raised, reason)
			over = append(over, reason)
		}
	}
	return over
}

// lasts reports whether there is still reason for an alarm after a refresh
// that worked.
func (a *alarms) lasts(reason AlarmReason) bool {
	switch reason {
	case AlarmDeadGrants:
		return a.many(a.deaths)
	case AlarmManyRefused:
		return a.many(a.refusals)
	case AlarmMisconfigured:
		return false
	default: // says nothing about it
		return true
	}
}

// many reports whether so many users are affected that it concerns the app.
func (a *alarms) many(users map[string]time.Time) bool {
	n := len(users)
	return n > deadMin && n*deadShare > n+len(a.refreshes)
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
	old := func(_ string, at time.Time) bool { return at.Before(start) }
	maps.DeleteFunc(a.deaths, old)
	maps.DeleteFunc(a.refusals, old)
}

// RaiseAlarm raises an alarm of the app, unless it lasts already. Refreshes that
// work end only the alarms that refreshes raise; others are for whoever raised
// them.
func (m *Manager) RaiseAlarm(reason AlarmReason, cause error) {
	m.alarms.mu.Lock()
	raised := m.alarms.raise(reason, time.Now())
	m.alarms.mu.Unlock()
	if raised {
		m.emit(Event{Kind: EventAppAlarm, Reason: string(reason), Err: cause})
	}
}

// ClearAlarm ends an alarm of the app, if it lasts.
func (m *Manager) ClearAlarm(reason AlarmReason) {
	m.alarms.mu.Lock()
	_, lasts := m.alarms.raised[reason]
	delete(m.alarms.raised, reason)
	m.alarms.mu.Unlock()
	if lasts {
		m.emit(Event{Kind: EventAppAlarmCleared, Reason: string(reason)})
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
