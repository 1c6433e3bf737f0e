package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// pendingWrite is a record with new tokens that the store has not taken yet.
type pendingWrite struct {
	record Record
	// based is the version it is to replace.
	based uint64
	// used is the refresh token that was traded for the new tokens.
	used secret.Text
	// claim is the ID of the claim under which that was done; empty if it
	// was done without one, because the store was away.
	claim string
	// writer is set while a goroutine tries to write it.
	writer bool
}

func (e *entry) hasPending() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pending != nil
}

// keep puts new tokens into memory, for callers at once and for the store as
// soon as it takes them. The version of the view stays that of the store.
func (m *Manager) keep(e *entry, next Record, based Versioned, used secret.Text) {
	m.learn(next)
	e.mu.Lock()
	p := &pendingWrite{record: next, based: based.Version, used: used}
	if based.Claim != nil {
		p.claim = based.Claim.ID
	}
	if e.pending != nil {
		// Refreshed again before the first result could be written: what
		// the store holds is still the token from before both.
		p.used, p.writer = e.pending.used, e.pending.writer
	}
	e.pending = p
	e.mu.Unlock()
	v := m.newView(Versioned{Record: next, Version: based.Version}, time.Now())
	e.view.Store(v)
	m.planNext(e, v)
	m.keepCopy(e, v.Versioned)
}

// flush tries once to write what is pending. A conflict is resolved; an
// error means that it is still pending.
func (m *Manager) flush(ctx context.Context, e *entry) error {
	for {
		e.mu.Lock()
		p := e.pending
		e.mu.Unlock()
		if p == nil {
			return nil
		}
		saved, err := m.put(ctx, p.record, p.based)
		if errors.Is(err, ErrConflict) {
			saved, err = m.resolve(ctx, p)
		}
		if errors.Is(err, errChanged) {
			continue
		}
		purged := errors.Is(err, ErrNotFound)
		if err != nil && !purged {
			return err
		}
		if !e.settle(p) {
			continue
		}
		if !purged {
			m.adopt(e, saved)
		}
		return nil
	}
}

// settle marks p as written. It reports false if newer tokens are pending.
func (e *entry) settle(p *pendingWrite) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending != p {
		return e.pending == nil
	}
	e.pending = nil
	return true
}

// resolve decides, after a conflict, between the tokens in hand and those
// that another writer has stored. Tokens are merged, never dropped, except
// where the user has installed anew or disconnected.
func (m *Manager) resolve(ctx context.Context, p *pendingWrite) (Versioned, error) {
	stored, err := m.config.Store.Load(ctx, p.record.Key)
	if err != nil {
		// ErrNotFound too: the record was purged, and nothing brings it back.
		return Versioned{}, err
	}
	switch {
	case stored.AccessToken.Equal(p.record.AccessToken):
		return stored, nil // written, and somebody wrote after it
	case stored.Status == StatusDisconnecting:
		return m.endingRotated(ctx, stored, p)
	case stored.Generation != p.record.Generation, stored.Status == StatusDisconnected:
		return stored, nil
	case stored.Reason == ReasonUninstalled && stored.RefreshToken.Equal(p.used):
		return stored, nil // HubSpot has ended what it gave, and said so
	case stored.RefreshToken.Equal(p.record.RefreshToken) && stored.IssuedAt.After(p.record.IssuedAt):
		// The refresh token does not rotate, and another process used it
		// since: what it got lives longer. If clocks differ, either will do.
		return stored, nil
	case !stored.RefreshToken.Equal(p.used):
		// Another process traded the same refresh token, or a later one.
		m.emitFor(stored.Record, Event{Kind: EventDoubleRefresh})
		if !stored.IssuedAt.Before(p.record.IssuedAt) {
			return stored, nil
		}
	}
	merged := stored.Record
	merged.AccessToken, merged.RefreshToken = p.record.AccessToken, p.record.RefreshToken
	merged.IssuedAt, merged.ExpiresAt = p.record.IssuedAt, p.record.ExpiresAt
	merged.Rotates = merged.Rotates || p.record.Rotates
	merged.Status, merged.Reason, merged.ReasonAt = StatusActive, "", time.Time{}
	if merged.Claim != nil && merged.Claim.ID == p.claim {
		merged.Claim = nil // another process's stays, which is asking right now
	}
	saved, err := m.put(ctx, merged, stored.Version)
	if errors.Is(err, ErrConflict) {
		return Versioned{}, errChanged
	}
	if err == nil {
		m.healed(stored.Record, saved.Record)
	}
	return saved, err
}

// endingRotated keeps what is left of a disconnect right that came while the
// refresh was under way: if that has ended the refresh token which is to be
// revoked, the new one is in its place.
func (m *Manager) endingRotated(ctx context.Context, stored Versioned, p *pendingWrite) (Versioned, error) {
	next := stored.Record
	next.Endings = slices.Clone(stored.Endings)
	changed := false
	for i, e := range next.Endings {
		if e.Generation == p.record.Generation && e.pending() && e.Token.Equal(p.used) && !p.used.Equal(p.record.RefreshToken) {
			next.Endings[i].Token = p.record.RefreshToken
			changed = true
		}
	}
	if !changed {
		return stored, nil
	}
	saved, err := m.put(ctx, next, stored.Version)
	if errors.Is(err, ErrConflict) {
		return Versioned{}, errChanged
	}
	return saved, err
}

// writeBehind goes on trying to write what is pending until the store takes
// it. One goroutine per entry does that; Close waits for it.
func (m *Manager) writeBehind(e *entry) {
	e.mu.Lock()
	idle := e.pending != nil && !e.pending.writer
	if idle {
		e.pending.writer = true
	}
	e.mu.Unlock()
	if !idle {
		return
	}
	done := m.work.add()
	go func() {
		defer done()
		// Others wait for this write as long as the claim's lease: the waits
		// stay short.
		for try := 1; sleep(m.ctx, m.fullJitter(min(try, 4), backoffMax)); try++ {
			if m.flush(m.ctx, e) == nil {
				m.emitFor(e.view.Load().Record, Event{Kind: EventWriteRecovered})
				return
			}
		}
	}()
}

// outagePoll is how often a connection in use looks whether the store is back.
const outagePoll = 15 * time.Second

// withoutStore goes on with what is in memory when the store gives no answer,
// or does not let this process read or write: a policy that was lost serves
// as an outage does. A token about to expire is refreshed without a claim rather than
// failing callers, unless a grant of the app was seen to rotate its refresh
// token: a second process doing the same would then end it for good.
func (m *Manager) withoutStore(e *entry, cause error) error {
	v := e.view.Load()
	if v == nil {
		v = m.recall(e)
	}
	if v == nil || v.missing || v.Status != StatusActive {
		return cause
	}
	if v.Static {
		m.schedule.plan(e, time.Now().Add(m.jitter(outagePoll)))
		return nil
	}
	if left := time.Until(v.ExpiresAt); left > v.ExpiresAt.Sub(v.IssuedAt)/5 && !e.isToGo(v) {
		// Ask again soon: what others did meanwhile is not known.
		m.schedule.plan(e, time.Now().Add(m.jitter(outagePoll)))
		return nil
	}
	if m.rotates.Load() {
		return fmt.Errorf("%w: %w", ErrRefreshNeedsStore, cause)
	}
	if err := m.mayRefresh(e); err != nil {
		return err
	}
	if err := m.awaitTurn(e); err != nil {
		return cause
	}
	begun := time.Now()
	grant, err := m.ask(v.Record, m.lease(v.Record)/3)
	if err != nil {
		// What fails callers is HubSpot's answer; the store's is not wrapped.
		return fmt.Errorf("%w (without the store: %s)", m.notRefreshed(e, v.Record, err), cause.Error())
	}
	next := refreshed(v.Record, grant, begun, "")
	m.keep(e, next, Versioned{Version: v.Version}, v.RefreshToken)
	m.refreshSucceeded(e, next, time.Since(begun))
	m.emitFor(next, Event{Kind: EventWritePending, Err: cause})
	m.writeBehind(e)
	return nil
}
