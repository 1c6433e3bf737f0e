package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// errChanged tells the loop of fly that the record is not what it was: read again.
var errChanged = errors.New("record changed meanwhile")

// maxPatience is how long a flight tries again while callers have no token
// at all, before it lets them have the error.
const maxPatience = 10 * time.Second

// fly is the work of one flight: read the record, and refresh it if that is
// due. It runs at most once at a time per connection in this process. What
// it finds stands in e.view; its error matters only if that has no usable
// token.
func (m *Manager) fly(e *entry) error {
	start := time.Now()
	hadToken := e.view.Load().usable(start)
	var watch claimWatch
	for {
		err := m.step(e, hadToken, &watch)
		if err == nil || m.ctx.Err() != nil {
			return err
		}
		var wait time.Duration
		switch {
		case errors.Is(err, errChanged):
		case errors.Is(err, errClaimed):
			wait = watch.poll(m.config.Random)
		case errors.Is(err, ErrTokenUnavailable) && !e.view.Load().usable(time.Now()):
			wait = time.Until(e.retryTime())
			if time.Since(start)+wait > maxPatience {
				return err
			}
		default:
			return err
		}
		if !sleep(m.ctx, wait) {
			return err
		}
	}
}

// step reads the record once and does what it calls for. Where callers had
// no token and the record has one, they get it at once: a refresh that it
// wants has been planned by adopt, and runs behind them.
func (m *Manager) step(e *entry, hadToken bool, watch *claimWatch) error {
	if e.hasPending() {
		if err := m.flush(m.ctx, e); err != nil {
			return m.withoutStore(e, err)
		}
	}
	stored, err := m.config.Store.Load(m.ctx, m.key(e.user))
	switch {
	case errors.Is(err, ErrNotFound):
		return m.adoptMissing(e)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrDenied):
		return m.withoutStore(e, err)
	case err != nil:
		return fmt.Errorf("loading connection: %w", err)
	}
	if v := e.view.Load(); v.unsaved(stored) {
		m.keep(e, v.Record, Versioned{Version: stored.Version}, stored.RefreshToken)
		return errChanged
	}
	v := m.adopt(e, stored)
	if err := v.refusal(); err != nil {
		return err
	}
	if v.Static {
		return m.checkStatic(e, v, stored)
	}
	serves := v.usable(time.Now()) && !e.isToGo(v)
	if serves && (!hadToken || !v.wantsRefresh(time.Now())) {
		return nil
	}
	if v.Claim != nil && !watch.lapsed(v, m.lease(v.Record)) {
		return errClaimed
	}
	if err := m.mayRefresh(e); err != nil {
		return err
	}
	return m.refreshClaimed(e, v)
}

// refreshClaimed refreshes v by the claim protocol: claim with check-and-set,
// ask HubSpot, write the result with check-and-set on the claim's version.
func (m *Manager) refreshClaimed(e *entry, v *view) error {
	if err := m.awaitTurn(e); err != nil {
		return fmt.Errorf("waiting for the refresh quota: %w", err)
	}
	lease := m.lease(v.Record)
	begun := time.Now()
	claimed, err := m.claim(v)
	switch {
	case errors.Is(err, ErrConflict):
		return errChanged
	case err != nil:
		return m.withoutStore(e, err)
	case time.Since(begun) > lease/3:
		// Too late to be sure of finishing before the claim is taken over,
		// so it is left to be taken over, by this process as by any other.
		return errChanged
	}
	if v.Claim != nil {
		m.emitFor(v.Record, Event{Kind: EventClaimTaken})
	}
	before, _ := m.grantMark(m.ctx, v.RefreshToken) // only a grant that rotates needs it
	grant, err := m.ask(v.Record, lease/3)
	if err != nil {
		return m.refreshFailed(e, v, claimed, err)
	}
	// From here on nothing may fail before the tokens are in memory, and
	// nothing gives up before they are in the store.
	next := refreshed(claimed.Record, grant, begun, before)
	m.keep(e, next, claimed, v.RefreshToken)
	m.refreshSucceeded(e, next, time.Since(begun))
	if err := m.flush(m.ctx, e); err != nil {
		m.emitFor(next, Event{Kind: EventWritePending, Err: err})
		m.writeBehind(e)
	}
	return nil
}

// ask gets new tokens for the connection that r is of.
func (m *Manager) ask(r Record, timeout time.Duration) (hubspot.Grant, error) {
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	defer cancel()
	begun := time.Now()
	grant, err := m.config.Provider.Refresh(ctx, r.RefreshToken)
	m.answered(begun, err)
	if err == nil {
		err = checkPortal(r, grant)
	}
	return grant, err
}

// refreshed is the record with what HubSpot answered. asked is the time
// before the call: a life counted from there cannot be too long. mark is that
// of the refresh token that was used, if it is known: who shares the grant is
// found by it.
func refreshed(r Record, grant hubspot.Grant, asked time.Time, mark string) Record {
	if !grant.RefreshToken.IsZero() && !grant.RefreshToken.Equal(r.RefreshToken) {
		if mark != "" && !slices.Contains(r.Grants, mark) {
			r.Grants = append(slices.Clone(r.Grants), mark)
		}
		r.RefreshToken = grant.RefreshToken
		r.Rotates = true
	}
	r.AccessToken = grant.AccessToken
	r.IssuedAt = asked
	r.ExpiresAt = asked.Add(grant.ExpiresIn)
	if len(grant.Scopes) > 0 {
		r.Scopes, r.MissingScopes = grant.Scopes, stillMissing(r, grant.Scopes)
	}
	r.Status, r.Reason, r.ReasonAt = StatusActive, "", time.Time{}
	r.Claim = nil
	return r
}

// stillMissing is what a grant with these scopes lacks of what the record had
// or lacked: others of the account may have widened or narrowed it.
func stillMissing(r Record, granted []string) []string {
	wanted := slices.Clone(r.MissingScopes)
	for _, scope := range r.Scopes {
		if !slices.Contains(wanted, scope) {
			wanted = append(wanted, scope)
		}
	}
	return missing(wanted, granted)
}

func (m *Manager) refreshSucceeded(e *entry, r Record, took time.Duration) {
	e.succeeded()
	m.troubleOver(e, r)
	m.emitFor(r, Event{Kind: EventRefreshed, Duration: took})
	for _, reason := range m.alarms.succeeded(e.user, time.Now()) {
		m.emit(Event{Kind: EventAppAlarmCleared, Reason: string(reason)})
	}
}

// refreshFailed does what the class of HubSpot's answer calls for.
func (m *Manager) refreshFailed(e *entry, tried *view, claimed Versioned, err error) error {
	switch {
	case errors.Is(err, ErrOtherPortal):
		return m.otherPortal(e, tried, claimed, err)
	case hubspot.Classify(err) == hubspot.ClassDeadGrant:
		return m.grantDead(e, tried, claimed, err)
	}
	err = m.notRefreshed(e, tried.Record, err)
	m.release(e, claimed)
	return err
}

// grantDead ends a grant that HubSpot calls dead, unless the refused refresh
// token is not the stored one any more, or so many grants die at once that
// the fault must be ours or HubSpot's.
func (m *Manager) grantDead(e *entry, tried *view, claimed Versioned, cause error) error {
	stored, err := m.readAgain(e, tried)
	if err != nil {
		return err
	}
	hold, raised := m.alarms.dead(e.user, time.Now())
	if raised {
		m.emit(Event{Kind: EventAppAlarm, Reason: string(AlarmDeadGrants), Err: cause})
	}
	if hold {
		m.release(e, claimed)
		m.failed(e, backoffMax, deadHold, cause)
		m.emitFor(tried.Record, Event{Kind: EventRefreshFailed, Reason: failureReason(cause), Err: cause})
		return fmt.Errorf("%w: %w", ErrTokenUnavailable, cause)
	}
	return m.requireReauth(e, tried, stored, e.deadReason(tried, cause), cause)
}

// readAgain reads the record before its status changes. It returns errChanged
// if the refresh token that was tried is not the stored one any more.
func (m *Manager) readAgain(e *entry, tried *view) (Versioned, error) {
	stored, err := m.config.Store.Load(m.ctx, m.key(e.user))
	if err != nil {
		m.failed(e, backoffMax, 0, err)
		return Versioned{}, fmt.Errorf("%w: reading the connection again: %w", ErrTokenUnavailable, err)
	}
	if !stored.RefreshToken.Equal(tried.RefreshToken) {
		m.adopt(e, stored)
		return Versioned{}, errChanged
	}
	return stored, nil
}

// requireReauth writes down that nothing but another install helps the
// connection.
func (m *Manager) requireReauth(e *entry, tried *view, stored Versioned, reason string, cause error) error {
	if stored.Status == StatusReauthRequired {
		m.adopt(e, stored) // somebody was first, and knows why
		return ErrReauthRequired
	}
	next := stored.Record
	next.Status, next.Reason, next.ReasonAt = StatusReauthRequired, reason, time.Now()
	next.Claim = nil
	if e.isRefused(tried) {
		// HubSpot takes neither token: nothing is left to serve with.
		next.AccessToken = secret.Text{}
	}
	saved, err := m.put(m.ctx, next, stored.Version)
	if errors.Is(err, ErrConflict) {
		return errChanged
	}
	if err != nil {
		m.failed(e, backoffMax, 0, err)
		return fmt.Errorf("%w: writing the status down: %w", ErrTokenUnavailable, err)
	}
	m.adopt(e, saved)
	m.troubleOver(e, next)
	m.emitFor(next, Event{Kind: EventReauthRequired, Reason: next.Reason, Err: cause})
	return ErrReauthRequired
}

// deadReason names HubSpot's word for a dead grant. After a takeover the grant may have
// died with the process that held the claim, between HubSpot's answer and
// its write.
func (e *entry) deadReason(tried *view, cause error) string {
	if e.hasStrayed() {
		return ReasonPortalChanged // with the answer that was refused, the grant may have ended
	}
	if tried.Claim != nil && tried.Claim.For == fingerprint(tried.RefreshToken) {
		return "refresh_in_doubt"
	}
	if refusal, ok := errors.AsType[*hubspot.TokenError](cause); ok && refusal.Status != "" {
		return refusal.Status
	}
	return "invalid_grant"
}

func retryAfter(err error) time.Duration {
	if refusal, ok := errors.AsType[*hubspot.TokenError](err); ok {
		return refusal.RetryAfter
	}
	return 0
}

func (e *entry) retryTime() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retryAt
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
