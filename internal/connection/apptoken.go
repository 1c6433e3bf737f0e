package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// AppProvider is what a [Provider] is beside if it gets tokens of the app
// itself; [hubspot.Client] does.
type AppProvider interface {
	// ClientCredentials gets a token with these scopes, of which there are
	// some. Its errors are classed by [hubspot.Classify].
	ClientCredentials(ctx context.Context, scopes []string) (hubspot.AppGrant, error)
}

// appTokens are the tokens of the app itself, one for each list of scopes. The
// zero value is none.
type appTokens struct {
	byScopes sync.Map // of string to *appToken
	flights  singleflight.Group
}

// appToken is the place of one of them. No user has the entry's name, which is
// empty: waits, backoff and the app's pause are those of a connection.
type appToken struct {
	*entry
	scopes  []string
	current atomic.Pointer[appTokenView]
}

// appTokenView is one token. It is never changed once stored.
type appTokenView struct {
	token     Token
	refreshAt time.Time
}

func (v *appTokenView) usable(now time.Time) bool { return v != nil && now.Before(v.token.ExpiresAt) }

// of returns the place of the token with these scopes. There are as many as the
// configuration has lists.
func (t *appTokens) of(scopes []string) *appToken {
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	place, _ := t.byScopes.LoadOrStore(strings.Join(scopes, " "), &appToken{entry: new(entry), scopes: scopes})
	return place.(*appToken)
}

// AppToken returns a token of the app itself, which belongs to no user and no
// portal, with the scopes. It is kept until it ends, and another one is asked
// for behind the callers' backs before that. Calls to the token endpoint share
// the budget, the pause and the failure classes of the app's refreshes.
//
// Errors wrap ErrTokenUnavailable or ErrAppMisconfigured, or are ctx's. Where
// HubSpot was not asked at all, a [*HeldBack] is among them.
func (m *Manager) AppToken(ctx context.Context, scopes []string) (Token, error) {
	t := m.appTokens.of(scopes)
	now := time.Now()
	v := t.current.Load()
	if !v.usable(now) {
		return m.awaitAppToken(ctx, t)
	}
	if !now.Before(v.refreshAt) && !now.Before(t.retryTime()) && !m.closing.Load() {
		m.startAppToken(t)
	}
	return v.token, nil
}

// AppTokenRejected is called when HubSpot has refused, with 401, a token of the
// app that the clock calls valid. It returns another one to try once. As for
// connections, that is asked for once a minute at the most.
func (m *Manager) AppTokenRejected(ctx context.Context, scopes []string, refused Token) (Token, error) {
	t := m.appTokens.of(scopes)
	if v := t.current.Load(); v.usable(time.Now()) && !v.token.Access.Equal(refused.Access) {
		return v.token, nil
	}
	if !t.mayReplace(time.Now()) {
		return Token{}, m.forceHeld(t.entry)
	}
	token, err := m.awaitAppToken(ctx, t)
	if err == nil && token.Access.Equal(refused.Access) {
		err = ErrTokenUnavailable
	}
	return token, err
}

// mayReplace notes that the token is to be replaced whatever the clock says, if
// that was not so within forceEvery.
func (t *appToken) mayReplace(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forcedAt.IsZero() && now.Sub(t.forcedAt) < forceEvery {
		return false
	}
	t.forcedAt = now
	return true
}

// awaitAppToken joins the work of getting a token, or starts it.
func (m *Manager) awaitAppToken(ctx context.Context, t *appToken) (Token, error) {
	// Those that callers wait for go before those that nobody does.
	t.callers.Add(1)
	defer t.callers.Add(-1)
	m.budget.hurry(t.entry)
	var err error
	select {
	case result := <-m.startAppToken(t):
		err = result.Err
	case <-ctx.Done():
		err = m.outOfTime(t.entry, context.Cause(ctx))
	}
	if v := t.current.Load(); v.usable(time.Now()) {
		return v.token, nil // whatever went wrong
	}
	return Token{}, cmp.Or(err, ErrTokenUnavailable)
}

// startAppToken gets a token on a goroutine of its own, one at a time. It goes
// on when those who wait for it leave.
func (m *Manager) startAppToken(t *appToken) <-chan singleflight.Result {
	return m.appTokens.flights.DoChan(strings.Join(t.scopes, " "), func() (any, error) {
		defer m.work.add()()
		return nil, m.flyForApp(t)
	})
}

// flyForApp gets a token, and tries again for a while where there is none to
// serve with.
func (m *Manager) flyForApp(t *appToken) error {
	for start := time.Now(); ; {
		err := m.askForApp(t)
		if !errors.Is(err, ErrTokenUnavailable) || t.current.Load().usable(time.Now()) {
			return err
		}
		wait := time.Until(t.retryTime())
		if time.Since(start)+wait > maxPatience || !sleep(m.ctx, wait) {
			return err
		}
	}
}

// askForApp asks HubSpot once, when it is the app's turn.
func (m *Manager) askForApp(t *appToken) error {
	provider, ok := m.config.Provider.(AppProvider)
	if !ok {
		return fmt.Errorf("%w: the provider has none", ErrTokenUnavailable)
	}
	if err := m.mayRefresh(t.entry); err != nil {
		return err
	}
	if err := m.awaitTurn(t.entry); err != nil {
		return fmt.Errorf("waiting for the refresh quota: %w", err)
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(m.ctx, m.config.Lease/3)
	defer cancel()
	grant, err := provider.ClientCredentials(ctx, t.scopes)
	m.answered(begun, err)
	if err != nil {
		return m.appTokenFailed(t, err)
	}
	issued := Record{IssuedAt: begun, ExpiresAt: begun.Add(grant.ExpiresIn)}
	t.current.Store(&appTokenView{
		token:     Token{Access: grant.AccessToken, ExpiresAt: issued.ExpiresAt, Scopes: grant.Scopes},
		refreshAt: m.refreshPoint(issued, m.draw()),
	})
	t.succeeded()
	m.emit(Event{Kind: EventAppToken, Duration: time.Since(begun)})
	for _, reason := range m.alarms.succeeded("", time.Now()) {
		m.emit(Event{Kind: EventAppAlarmCleared, Reason: string(reason)})
	}
	m.ClearAlarm(AlarmAppToken)
	return nil
}

// appTokenFailed does what the class of HubSpot's answer calls for, and returns
// what callers are told.
func (m *Manager) appTokenFailed(t *appToken, err error) error {
	m.emit(Event{Kind: EventAppTokenFailed, Reason: failureReason(err), Err: err})
	switch hubspot.Classify(err) {
	case hubspot.ClassMisconfigured:
		alone, raised := m.alarms.misconfigured("", time.Now(), err)
		if raised {
			m.emit(Event{Kind: EventAppAlarm, Reason: string(AlarmMisconfigured), Err: err})
		}
		if !alone {
			return fmt.Errorf("%w: %w", ErrAppMisconfigured, err)
		}
	case hubspot.ClassConnection:
	default:
		m.failed(t.entry, backoffMax, retryAfter(err), err)
		return fmt.Errorf("%w: %w", ErrTokenUnavailable, err)
	}
	m.failed(t.entry, troubleBackoffMax, retryAfter(err), err)
	m.RaiseAlarm(AlarmAppToken, err)
	return fmt.Errorf("%w: %w", ErrTokenUnavailable, err)
}
