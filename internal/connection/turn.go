package connection

import (
	"context"
	"errors"
	"time"
)

// awaitTurn waits for the turn of a flight's refresh at the token endpoint.
// Its error is that the Manager has ended.
func (m *Manager) awaitTurn(e *entry) error {
	turn := m.budget.Reserve()
	wait := turn.Delay()
	e.turn.Store(time.Now().Add(wait).UnixNano())
	defer e.turn.Store(0)
	if !sleep(m.ctx, wait) {
		turn.Cancel()
		return m.ctx.Err()
	}
	return nil
}

// outOfTime is the error for a caller whose time is up, with the name of what
// the flight waits for, if that is the refresh quota.
func (e *entry) outOfTime(cause error) error {
	turn := e.turn.Load()
	if turn == 0 || !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	wait := max(time.Until(time.Unix(0, turn)), time.Second)
	return &HeldBack{Reason: HeldRefreshQuota, RetryAfter: wait, cause: cause}
}

// quotaBeyond is what holds a refresh back that would not have its turn before
// ctx ends, or nil.
func (m *Manager) quotaBeyond(ctx context.Context) *HeldBack {
	deadline, bounded := ctx.Deadline()
	missing := 1 - m.budget.Tokens()
	if !bounded || missing <= 0 {
		return nil
	}
	wait := time.Duration(missing / float64(m.budget.Limit()) * float64(time.Second))
	if time.Until(deadline) > wait {
		return nil
	}
	return &HeldBack{Reason: HeldRefreshQuota, RetryAfter: max(wait, time.Second)}
}
