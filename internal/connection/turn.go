package connection

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// awaitTurn waits for the turn of a flight's refresh at the token endpoint.
// Its error is that the Manager has ended.
func (m *Manager) awaitTurn(e *entry) error {
	turn := m.budget.queue(e)
	defer e.turn.Store(nil)
	select {
	case <-turn.given:
		return nil
	case <-m.ctx.Done():
		m.budget.leave(turn)
		return m.ctx.Err()
	}
}

// joinAhead is join for a caller: the flight goes before those that nobody
// waits for.
func (m *Manager) joinAhead(ctx context.Context, e *entry) error {
	e.callers.Add(1)
	defer e.callers.Add(-1)
	m.budget.hurry(e)
	return m.join(ctx, e)
}

// outOfTime is the error for a caller whose time is up, with the name of what
// the flight waits for, if that is the refresh quota.
func (m *Manager) outOfTime(e *entry, cause error) error {
	turn := e.turn.Load()
	if turn == nil || !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &HeldBack{Reason: HeldRefreshQuota, RetryAfter: max(m.budget.wait(turn), time.Second), cause: cause}
}

// quotaBeyond is what holds a refresh back that would not have its turn before
// ctx ends, or nil.
func (m *Manager) quotaBeyond(ctx context.Context) *HeldBack {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return nil
	}
	wait := m.budget.wait(nil)
	if wait <= 0 || time.Until(deadline) > wait {
		return nil
	}
	return &HeldBack{Reason: HeldRefreshQuota, RetryAfter: max(wait, time.Second)}
}

// answered has the budget learn from the answer to a refresh that began at begun.
func (m *Manager) answered(begun time.Time, err error) {
	refusal, _ := errors.AsType[*hubspot.TokenError](err)
	limited := refusal != nil && refusal.HTTPStatus == http.StatusTooManyRequests
	if err != nil && !limited {
		return
	}
	m.budget.answered(begun, limited, retryAfter(err))
}

// InTurn asks the token endpoint for something that is no refresh: when its turn
// has come, behind the refreshes that callers wait for, and as one of what the
// app may ask in all. Its error is question's, or that ctx has ended before the
// turn came.
func (m *Manager) InTurn(ctx context.Context, question func(context.Context) error) error {
	turn := m.budget.queue(new(entry))
	select {
	case <-turn.given:
	case <-ctx.Done():
		m.budget.leave(turn)
		return context.Cause(ctx)
	}
	begun := time.Now()
	err := question(ctx)
	m.answered(begun, err)
	return err
}
