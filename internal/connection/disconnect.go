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

// settleTimeout bounds one try to finish a disconnect.
const settleTimeout = 45 * time.Second

// DisconnectOptions say what a disconnect ends beside the connection.
type DisconnectOptions struct {
	// Uninstall removes the app from the portal as well, unless another
	// connection stands on it.
	Uninstall bool
}

// Disconnect ends a connection for good: it is marked, so that no process
// serves it any more; its earlier versions are destroyed; and at HubSpot the
// app is uninstalled, if that is asked for, and the grant revoked. Both are
// left as they are where another connection stands on them.
//
// What HubSpot cannot be asked for at the moment, or another process has to
// finish first, is pending in the receipt, and tried again by whichever process
// [Manager.Follow]s until it is done. Calling Disconnect again goes on with it.
//
// Errors wrap ErrNotConnected, ErrUnavailable, ErrDenied or ErrCorrupt, or are
// ctx's; after any of them the user is connected as before.
func (m *Manager) Disconnect(ctx context.Context, user string, o DisconnectOptions) (Receipt, error) {
	stored, err := m.config.Store.Load(ctx, m.key(user))
	switch {
	case errors.Is(err, ErrNotFound):
		return Receipt{}, ErrNotConnected
	case err != nil:
		return Receipt{}, fmt.Errorf("loading connection: %w", err)
	case stored.Status == StatusDisconnected:
		m.forget(stored)
		if err := m.config.Store.Erase(ctx, stored.Key, stored.Version); err != nil {
			return Receipt{}, fmt.Errorf("destroying earlier versions: %w", err)
		}
		return Receipt{}, ErrNotConnected
	}
	noticed, err := m.announce(ctx, user)
	if err != nil {
		return Receipt{}, fmt.Errorf("announcing disconnect: %w", err)
	}
	marked, err := m.endConnection(ctx, user, o)
	if err != nil {
		return Receipt{}, err
	}
	return m.finish(ctx, noticed, marked), nil
}

// finish does what is left of a disconnect as far as it can be done before ctx
// ends. It goes on without the caller.
func (m *Manager) finish(ctx context.Context, noticed notice, marked Versioned) Receipt {
	done := make(chan Versioned, 1)
	ended := m.work.add()
	go func() {
		defer ended()
		stored, err := m.settleOnce(m.ctx, marked.User)
		if stored.Version == 0 {
			stored = marked
		}
		if err == nil && !stored.unsettled() {
			_ = m.withdraw(m.ctx, noticed) // whoever follows does it otherwise
		} else {
			m.emitFor(stored.Record, Event{Kind: EventDisconnectPending, Err: err})
		}
		done <- stored
	}()
	select {
	case marked = <-done:
	case <-ctx.Done():
	}
	if receipt := marked.receipt(); receipt != nil {
		return *receipt
	}
	// The user was back before it was finished, and needs what it stood on.
	return Receipt{User: marked.User, HubID: marked.HubID, Revoked: OutcomeShared, Uninstalled: OutcomeShared, Destroyed: true, At: marked.UpdatedAt}
}

// endConnection marks a connection as disconnecting. From then on every process
// that reads the record refuses calls.
func (m *Manager) endConnection(ctx context.Context, user string, o DisconnectOptions) (Versioned, error) {
	for {
		stored, err := m.config.Store.Load(ctx, m.key(user))
		switch {
		case errors.Is(err, ErrNotFound):
			return Versioned{}, ErrNotConnected
		case err != nil:
			return Versioned{}, fmt.Errorf("loading connection: %w", err)
		case stored.Status == StatusDisconnected:
			return Versioned{}, ErrNotConnected
		}
		next, changed := ended(stored.Record, o, time.Now())
		if !changed {
			m.forget(stored)
			return stored, nil
		}
		saved, err := m.put(ctx, next, stored.Version)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return Versioned{}, fmt.Errorf("storing disconnect: %w", err)
		}
		m.forget(saved)
		if stored.Status != StatusDisconnecting {
			m.emitFor(saved.Record, Event{Kind: EventDisconnected})
		}
		return saved, nil
	}
}

// ended is the record of a connection that is being disconnected. Its tokens
// are kept only where they are needed to end the grant.
func ended(r Record, o DisconnectOptions, now time.Time) (next Record, changed bool) {
	if r.Status == StatusDisconnecting {
		last := len(r.Endings) - 1
		if !o.Uninstall || last < 0 || r.Endings[last].Uninstalled != OutcomeNotAsked || r.Endings[last].Token.IsZero() {
			return r, false
		}
		r.Endings = slices.Clone(r.Endings)
		r.Endings[last].Uninstalled = OutcomePending
		return r, true
	}
	e := Ending{
		Generation: r.Generation, HubID: r.HubID, Token: r.RefreshToken, Grants: r.Grants,
		Revoked: OutcomePending, Uninstalled: OutcomeNotAsked, At: now,
	}
	if o.Uninstall {
		e.Uninstalled, e.Access, e.AccessUntil = OutcomePending, r.AccessToken, r.ExpiresAt
	}
	next = tombstone(r)
	next.Status, next.Reason = StatusDisconnecting, ""
	next.Endings = append(slices.Clone(r.Endings), e)
	return next, true
}

// settle goes on with the disconnects of a user, and reports whether they are
// finished.
func (m *Manager) settle(ctx context.Context, user string) (finished bool, err error) {
	stored, err := m.settleOnce(ctx, user)
	return err == nil && !stored.unsettled(), err
}

// settleOnce does what is left of the disconnects of a user, as far as it can be
// done now, and returns the record. One goroutine of this process does so at a
// time; among processes the ledger keeps them apart.
func (m *Manager) settleOnce(ctx context.Context, user string) (Versioned, error) {
	flight := m.settling.DoChan(user, func() (any, error) {
		defer m.work.add()()
		ctx, cancel := context.WithTimeout(m.ctx, settleTimeout)
		defer cancel()
		return m.settleRecord(ctx, user)
	})
	select {
	case result := <-flight:
		stored, _ := result.Val.(Versioned)
		return stored, result.Err
	case <-ctx.Done():
		return Versioned{}, ctx.Err()
	}
}

// settleRecord is the work of settleOnce. Each of its steps may be the last one
// that a process does, and may be done again by another.
func (m *Manager) settleRecord(ctx context.Context, user string) (Versioned, error) {
	stored, err := m.config.Store.Load(ctx, m.key(user))
	switch {
	case errors.Is(err, ErrNotFound):
		return Versioned{}, nil // purged: nothing is left to end it with
	case err != nil:
		return Versioned{}, fmt.Errorf("loading connection: %w", err)
	case stored.Status == StatusDisconnected:
		m.forget(stored)
		return stored, m.config.Store.Erase(ctx, stored.Key, stored.Version)
	case !stored.unsettled():
		return stored, nil
	case stored.Status == StatusDisconnecting:
		m.forget(stored)
	}
	erased := m.config.Store.Erase(ctx, stored.Key, stored.Version)
	endings, problems := slices.Clone(stored.Endings), []error{erased}
	for i, e := range endings {
		if e.pending() {
			var err error
			e, err = m.advance(ctx, e)
			problems = append(problems, err)
		}
		e.Destroyed = e.Destroyed || erased == nil
		endings[i] = e.settled()
	}
	saved, err := m.saveEndings(ctx, stored, endings)
	if err != nil {
		return stored, errors.Join(append(problems, err)...)
	}
	if !saved.unsettled() {
		m.emitFor(saved.Record, Event{Kind: EventDisconnectFinished, Reason: outcomes(endings)})
		problems = append(problems, m.config.Store.Erase(ctx, saved.Key, saved.Version))
	}
	return saved, errors.Join(problems...)
}

// outcomes tells in a few words how disconnects ended.
func outcomes(endings []Ending) string {
	if len(endings) == 0 {
		return ""
	}
	last := endings[len(endings)-1]
	return fmt.Sprintf("revoked %s, uninstalled %s", last.Revoked, last.Uninstalled)
}

// saveEndings writes down how far the disconnects of a record are, also if the
// user has connected again meanwhile. A record in which nothing is left to do
// becomes a tombstone.
func (m *Manager) saveEndings(ctx context.Context, stored Versioned, endings []Ending) (Versioned, error) {
	for {
		next := stored.Record
		next.Endings = merged(stored.Endings, endings)
		done := !slices.ContainsFunc(next.Endings, func(e Ending) bool { return e.pending() || !e.Destroyed })
		switch {
		case next.Status == StatusDisconnecting && done:
			next.Status, next.Reason, next.ReasonAt = StatusDisconnected, "disconnected", time.Now()
			next.Endings = next.Endings[max(len(next.Endings)-1, 0):]
		case next.Status != StatusDisconnecting:
			next.Endings = slices.DeleteFunc(next.Endings, func(e Ending) bool { return !e.pending() })
		}
		if next.Status == stored.Status && encodeEndings(next.Endings) == encodeEndings(stored.Endings) {
			return stored, nil
		}
		saved, err := m.put(ctx, next, stored.Version)
		if err == nil {
			if saved.Status == StatusDisconnected {
				m.forget(saved)
			} else if e := m.cache.get(saved.User); e != nil {
				m.adopt(e, saved)
			}
			return saved, nil
		}
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return Versioned{}, fmt.Errorf("storing disconnect: %w", err)
		}
		if stored, err = m.config.Store.Load(ctx, next.Key); err != nil {
			return Versioned{}, fmt.Errorf("loading connection: %w", err)
		}
	}
}

// merged are stored endings with what is known of them now.
func merged(stored, known []Ending) []Ending {
	all := slices.Clone(stored)
	for i, e := range all {
		at := slices.IndexFunc(known, func(k Ending) bool { return k.Generation == e.Generation })
		if at < 0 {
			continue
		}
		now := known[at]
		if e.Revoked != OutcomePending {
			now.Revoked = e.Revoked
		}
		if e.Uninstalled != OutcomePending && now.Uninstalled == OutcomePending || now.Uninstalled == OutcomeNotAsked {
			now.Uninstalled = e.Uninstalled
		}
		if now.pending() && now.Token.IsZero() {
			now.Token = e.Token // asked for more meanwhile
		}
		now.Destroyed = now.Destroyed || e.Destroyed
		all[i] = now.settled()
	}
	return all
}

// advance asks HubSpot for what is left of an Ending. The app is uninstalled
// first: that takes an access token, which cannot be had once the grant is
// revoked.
func (m *Manager) advance(ctx context.Context, e Ending) (Ending, error) {
	if err := m.indexed(ctx); err != nil {
		return e, err
	}
	portal, err := m.portalMark(ctx, e.HubID)
	if err != nil {
		return e, err
	}
	if e.Uninstalled == OutcomePending {
		e.Uninstalled, err = m.endSubject(ctx, ending{
			mark: portal, generation: e.Generation,
			waits: func(other Ending) bool { return other.Uninstalled == OutcomePending },
		}, func(ctx context.Context) (Outcome, error) { return m.uninstall(ctx, &e) })
		if err != nil {
			return e, fmt.Errorf("uninstalling the app: %w", err)
		}
	}
	m.letGo(ctx, e.Generation, portal)
	if e.Revoked == OutcomePending {
		if e.Revoked, err = m.revoke(ctx, e); err != nil {
			return e, fmt.Errorf("revoking the grant: %w", err)
		}
	}
	return e, nil
}

// revoke ends the grant of an Ending unless another connection stands on it.
func (m *Manager) revoke(ctx context.Context, e Ending) (Outcome, error) {
	if e.Token.IsZero() {
		return OutcomeRefused, nil // HubSpot has no endpoint that ends a static token
	}
	mark, err := m.grantMark(ctx, e.Token)
	if err != nil {
		return OutcomePending, err
	}
	waits := func(other Ending) bool { return other.Revoked == OutcomePending }
	for _, earlier := range e.Grants {
		if earlier == mark {
			continue
		}
		shared, err := m.leave(ctx, ending{earlier, e.Generation, waits})
		if err != nil {
			return OutcomePending, err
		}
		if shared {
			m.letGo(ctx, e.Generation, mark)
			return OutcomeShared, nil
		}
	}
	return m.endSubject(ctx, ending{mark, e.Generation, waits}, func(ctx context.Context) (Outcome, error) {
		err := m.config.Provider.Revoke(ctx, e.Token)
		if err != nil && hubspot.Classify(err) != hubspot.ClassDeadGrant {
			return OutcomePending, err
		}
		return OutcomeDone, nil
	})
}

// uninstallNeeds is how long an access token has to live to be used.
const uninstallNeeds = 30 * time.Second

// uninstall removes the app from the portal of an Ending, whose tokens it may
// replace. A grant that is dead leaves nothing to do it with, or for.
func (m *Manager) uninstall(ctx context.Context, e *Ending) (Outcome, error) {
	if e.Token.IsZero() {
		return OutcomeRefused, nil // the token of a static app, which no sidecar got
	}
	for fresh := false; ; fresh = true {
		if e.Access.IsZero() || time.Until(e.AccessUntil) < uninstallNeeds {
			err := m.accessAnew(ctx, e)
			if hubspot.Classify(err) == hubspot.ClassDeadGrant {
				return OutcomeDone, nil
			}
			if err != nil {
				return OutcomePending, err
			}
			fresh = true
		}
		err := m.config.Provider.Uninstall(ctx, e.Access)
		refusal, _ := errors.AsType[*hubspot.UninstallError](err)
		switch {
		case err == nil:
			return OutcomeDone, nil
		case refusal != nil && refusal.Final:
			return OutcomeRefused, nil
		case refusal != nil && refusal.TokenRefused && !fresh:
			e.Access = secret.Text{}
		default:
			return OutcomePending, err
		}
	}
}

// accessAnew gets an Ending another access token. What HubSpot gives is kept
// with the next save.
func (m *Manager) accessAnew(ctx context.Context, e *Ending) error {
	begun := time.Now()
	grant, err := m.config.Provider.Refresh(ctx, e.Token)
	m.answered(begun, err)
	if err != nil {
		return err
	}
	if err := checkPortal(Record{HubID: e.HubID}, grant); err != nil {
		return err // what is uninstalled has to be what was disconnected
	}
	e.Access, e.AccessUntil = grant.AccessToken, begun.Add(grant.ExpiresIn)
	if !grant.RefreshToken.IsZero() {
		e.Token = grant.RefreshToken
	}
	return nil
}
