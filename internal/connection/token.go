package connection

import (
	"cmp"
	"context"
	"time"
)

const (
	// negativeLife is how long an answer without a token is given again
	// without asking the store: a reconnect is seen after that.
	negativeLife = 2 * time.Second
	// rereadEvery is how often the record of a connection in use is read
	// anew, to see what other processes did to it.
	rereadEvery = 5 * time.Minute
)

// Token returns an access token of user that is valid by the clock. While
// one is known that takes no lock and no I/O; otherwise it waits for the
// connection to be read and refreshed, as long as ctx allows. That work is
// shared by all who wait and goes on when they leave.
//
// Errors wrap ErrNotConnected, ErrReauthRequired, ErrTokenUnavailable,
// ErrAppMisconfigured, ErrRefreshNeedsStore, ErrUnavailable, ErrDenied or
// ErrCorrupt, or are ctx's. Where a refresh was not tried at all, a [*HeldBack]
// is among them.
func (m *Manager) Token(ctx context.Context, user string) (Token, error) {
	now := time.Now()
	if e := m.cache.get(user); e != nil {
		e.touch(now)
		if v := e.view.Load(); v.usable(now) {
			if due := e.due.Load(); due <= now.UnixNano() {
				m.schedule.kick(e, due, now)
			}
			return v.token(), nil
		}
	}
	return m.await(ctx, user)
}

// await joins the work on a connection that has no usable token, or starts it.
func (m *Manager) await(ctx context.Context, user string) (Token, error) {
	e := m.cache.getOrAdd(user)
	e.touch(time.Now())
	if v := e.view.Load(); v != nil && !v.usable(time.Now()) && time.Since(v.readAt) < negativeLife {
		if err := v.refusal(); err != nil {
			return Token{}, err
		}
	}
	err := m.joinAhead(ctx, e)
	if v := e.view.Load(); v.usable(time.Now()) {
		return v.token(), nil // whatever went wrong
	}
	return Token{}, cmp.Or(err, ErrTokenUnavailable)
}

// join waits for the flight of a connection, which is started if there is
// none, as long as ctx allows. The flight has a context of its own.
func (m *Manager) join(ctx context.Context, e *entry) error {
	flight := m.flights.DoChan(e.user, func() (any, error) {
		defer m.work.add()()
		return nil, m.fly(e)
	})
	select {
	case result := <-flight:
		return result.Err
	case <-ctx.Done():
		return m.outOfTime(e, context.Cause(ctx))
	}
}

// refusesAll reports whether the user is not connected.
func (v *view) refusesAll() bool {
	return v.missing || v.Status == StatusDisconnected || v.Status == StatusDisconnecting
}

// refusal is the error for a connection that will not get a token by itself.
func (v *view) refusal() error {
	switch {
	case v.refusesAll():
		return ErrNotConnected
	case v.Status == StatusReauthRequired:
		return ErrReauthRequired
	}
	return nil
}

// classify has the tokens that expire first refreshed first.
func classify(e *entry) job {
	v := e.view.Load()
	if v == nil || !v.wantsRefresh(time.Now()) {
		return job{lane: laneRead, urgency: e.due.Load()}
	}
	return job{lane: laneRefresh, urgency: v.ExpiresAt.UnixNano()}
}

// runDue is a background job of the schedule.
func (m *Manager) runDue(e *entry) {
	if m.closing.Load() {
		return
	}
	defer m.work.add()()
	v := e.view.Load()
	if v == nil || m.cache.get(e.user) != e {
		return
	}
	if e.usedSince(v.readAt) || (v.wantsRefresh(time.Now()) && e.usedSince(v.IssuedAt)) {
		// The errors are events already; a success has planned the next job.
		err := m.join(m.ctx, e)
		if e.due.Load() == notDue && e.view.Load().usable(time.Now()) {
			m.schedule.plan(e, time.Now().Add(m.untilRetry(e, err)))
		}
		return
	}
	if !v.Static && !v.wantsRefresh(time.Now()) && e.usedSince(v.IssuedAt) {
		m.schedule.plan(e, v.refreshAt)
		return
	}
	// Nobody uses it: the next request will ask for this job again.
	e.due.Store(time.Now().UnixNano())
}

// laneWidth has as many refreshes under way as the budget gives turns in a
// second, so that a token endpoint that takes that long is no limit of its own.
func (m *Manager) laneWidth(lane int) int {
	if lane != laneRefresh {
		return laneWidth
	}
	return max(laneWidth, int(m.budget.perSecond()))
}

func (v *view) wantsRefresh(now time.Time) bool { return !now.Before(v.refreshAt) }
