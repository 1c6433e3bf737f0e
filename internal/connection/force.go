package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// forceEvery is the least time between two refreshes of a connection that are
// not by the clock.
const forceEvery = time.Minute

// Rejected is called when HubSpot has refused, with 401, a token that the
// clock calls valid. It returns another token to try once: one that is known
// by now, or a fresh one. A connection is refreshed for this reason once per
// token and at most once a minute; beyond that, and when no token can be
// had, it returns an error, and HubSpot's answer should be passed on unless
// the error is ErrReauthRequired or ErrNotConnected.
func (m *Manager) Rejected(ctx context.Context, user string, refused Token) (Token, error) {
	e := m.cache.getOrAdd(user)
	if v := e.view.Load(); v.usable(time.Now()) && !v.AccessToken.Equal(refused.Access) {
		return v.token(), nil
	}
	leads, may := e.mayForce(refused)
	if !may {
		return Token{}, m.forceHeld(e)
	}
	if leads {
		defer e.endForce()
	}
	token, err := m.replace(ctx, e, refused)
	if err != nil && e.view.Load().isStatic() {
		// What ends a static token is HubSpot's answer, which the caller is to see.
		return Token{}, fmt.Errorf("%w: %w", ErrTokenUnavailable, ErrStatic)
	}
	return token, err
}

// ForceRefresh refreshes the connection of user whatever the clock says, for
// operators. A token that has run out is refreshed as by [Manager.Token], once.
//
// Errors are those of [Manager.Token]; where HubSpot was not asked because
// something holds the refresh back, a [*HeldBack] is among them, and callers
// go on with the token that they have.
func (m *Manager) ForceRefresh(ctx context.Context, user string) (Summary, error) {
	begun := time.Now()
	e := m.cache.getOrAdd(user)
	hadToken := e.view.Load().usable(begun)
	token, err := m.Token(ctx, user)
	if err != nil {
		return Summary{}, err
	}
	if e.view.Load().isStatic() {
		return Summary{}, ErrStatic
	}
	if !hadToken && !e.view.Load().IssuedAt.Before(begun) {
		return m.Get(ctx, user) // it had run out
	}
	leads, err := m.order(ctx, e, token)
	if err != nil {
		return Summary{}, err
	}
	_, err = m.replace(ctx, e, token)
	if leads {
		e.endOrder(err == nil)
	}
	if err != nil {
		return Summary{}, err
	}
	return m.Get(ctx, user)
}

// replace waits until another token than old is known.
func (m *Manager) replace(ctx context.Context, e *entry, old Token) (Token, error) {
	var failure error
	// The flight that is joined first may have begun before it was noted that
	// old is to go; the second has not.
	for range 2 {
		err := m.joinAhead(ctx, e)
		if err == nil {
			err = context.Cause(ctx)
		}
		v := e.view.Load()
		if v.usable(time.Now()) && !v.AccessToken.Equal(old.Access) {
			return v.token(), nil
		}
		if errors.Is(err, ErrReauthRequired) || errors.Is(err, ErrNotConnected) || ctx.Err() != nil {
			return Token{}, err
		}
		if failure == nil {
			failure = err // that of the second may only be what the first led to
		}
	}
	if failure == nil {
		failure = ErrTokenUnavailable
	}
	return Token{}, failure
}

// mayForce notes that token was refused and reports whether that is reason
// enough to refresh now, or to join those who already do. The one that leads
// calls endForce when it is done.
func (e *entry) mayForce(token Token) (leads, may bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	mark := token.Access.Mark()
	switch {
	case e.forcing && (mark == e.refused || mark == e.ordered):
		e.refused = mark
		return false, true
	case mark == e.refused, time.Since(e.forcedAt) < forceEvery:
		return false, false
	}
	e.refused, e.forcedAt, e.forcing = mark, time.Now(), true
	return true, true
}

func (e *entry) endForce() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forcing = false
}

// order notes that token is to be replaced although nothing speaks against
// it, unless that makes no sense now. The one that leads calls endOrder.
func (m *Manager) order(ctx context.Context, e *entry, token Token) (leads bool, err error) {
	if held := m.quotaBeyond(ctx); held != nil {
		return false, held
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch wait := forceEvery - time.Since(e.forcedAt); {
	case e.forcing:
		return false, nil
	case wait > 0 && e.failures == 0:
		return false, &HeldBack{Reason: HeldRefreshedRecently, RetryAfter: wait}
	}
	e.ordered, e.forcedAt, e.forcing = token.Access.Mark(), time.Now(), true
	return true, nil
}

// endOrder ends what order began. Where it gave no token, the clock decides
// again, and another order is held back by what made this one fail.
func (e *entry) endOrder(refreshed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ordered, e.forcing = secret.Mark{}, false
	if !refreshed {
		e.forcedAt = time.Time{}
	}
}

// isRefused reports whether HubSpot has refused the access token of v.
func (e *entry) isRefused(v *view) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused != secret.Mark{} && e.refused == v.AccessToken.Mark()
}

// isToGo reports whether the access token of v is to be replaced before its
// time: HubSpot has refused it, or an operator asked for it.
func (e *entry) isToGo(v *view) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	mark := v.AccessToken.Mark()
	return mark != secret.Mark{} && (mark == e.refused || mark == e.ordered)
}
