package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// firstDelay and longestDelay bound the backoff after a refused login
	// and between logins that a 403 asked for.
	firstDelay   = time.Second
	longestDelay = 30 * time.Second
	// shortestRenewal keeps a lease of no length from keeping us busy.
	shortestRenewal = time.Second
)

// errClosed is what a closed store answers.
var errClosed = errors.New("the store is closed")

// grant is a token in use. Its number tells it from the ones before.
type grant struct {
	token  secret.Text
	number uint64
}

// session keeps the store logged in. Logins and renewals happen one at a
// time, on no caller's context; callers wait for them as long as they like.
type session struct {
	client *client
	method loginMethod
	log    *slog.Logger
	ctx    context.Context
	wg     *sync.WaitGroup
	wake   chan struct{} // tells maintain that next has changed

	mu sync.Mutex
	// lease is the current one and started is when it was asked for. Its
	// token is empty before the first login.
	lease   lease
	started time.Time
	number  uint64
	// granted is the time to live that the login gave, before renewals.
	granted time.Duration
	// next is when to renew or log in again; zero for never.
	next time.Time
	// flight is closed when the login or renewal in progress has ended.
	flight chan struct{}
	// failure is why the last login failed, until one succeeds; a refused
	// one is not repeated before retryAt.
	failure error
	retryAt time.Time
	delay   time.Duration
	// A 403 asks for a login no sooner than replaceAt.
	replaced     time.Time
	replaceAt    time.Time
	replaceDelay time.Duration
}

// newSession returns a session whose goroutines belong to wg and end with ctx.
func newSession(ctx context.Context, wg *sync.WaitGroup, c *client, method loginMethod, log *slog.Logger) *session {
	return &session{
		client: c,
		method: method,
		log:    log.With("method", method.name()),
		ctx:    ctx,
		wg:     wg,
		wake:   make(chan struct{}, 1),
	}
}

// current returns a token, after a login if there is none.
func (s *session) current(ctx context.Context) (grant, error) {
	s.mu.Lock()
	if s.valid() {
		defer s.mu.Unlock()
		return grant{s.lease.token, s.number}, nil
	}
	if s.flight == nil && time.Now().Before(s.retryAt) {
		defer s.mu.Unlock()
		return grant{}, s.failure
	}
	return s.flyAndLand(ctx)
}

// replace returns another token than the refused one, which Vault answered
// with 403. That may be the policy's doing as well as the token's, so logins
// on this ground become rare when they do not help; the error is then the
// last login's, or errDenied.
func (s *session) replace(ctx context.Context, denied grant) (grant, error) {
	s.mu.Lock()
	now := time.Now()
	switch {
	case s.number != denied.number && s.valid():
		defer s.mu.Unlock()
		return grant{s.lease.token, s.number}, nil
	case s.flight == nil && s.failure != nil && now.Before(s.retryAt):
		defer s.mu.Unlock()
		return grant{}, s.failure
	case s.flight == nil && now.Before(s.replaceAt):
		defer s.mu.Unlock()
		return grant{}, errDenied
	case s.flight == nil:
		s.replaceDelay = min(2*s.replaceDelay, longestDelay)
		if now.Sub(s.replaced) > 2*longestDelay {
			s.replaceDelay = firstDelay
		}
		s.replaced, s.replaceAt = now, now.Add(jitter(s.replaceDelay, 0.1))
	}
	return s.flyAndLand(ctx)
}

// flyAndLand logs in and returns what that brought. The caller holds mu; it
// is unlocked.
func (s *session) flyAndLand(ctx context.Context) (grant, error) {
	if err := s.client.breaker.allow(); err != nil {
		// Nor is it worth waiting for one that is under way.
		defer s.mu.Unlock()
		return grant{}, err
	}
	flight := s.fly(s.login)
	s.mu.Unlock()
	return s.land(ctx, flight)
}

// valid reports whether there is a token that has not run out. The caller
// holds mu.
func (s *session) valid() bool {
	return !s.lease.token.IsZero() && (s.lease.ttl == 0 || time.Since(s.started) < s.lease.ttl)
}

// fly runs action, or joins the one in progress. The caller holds mu.
func (s *session) fly(action func(context.Context) error) chan struct{} {
	if s.flight != nil {
		return s.flight
	}
	flight := make(chan struct{})
	if s.ctx.Err() != nil {
		// Close waits for the goroutines; there must be no new one.
		s.failure = unavailable(errClosed)
		close(flight)
		return flight
	}
	s.flight = flight
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeoutCause(s.ctx, backgroundTimeout, errTimeout)
		defer cancel()
		err := action(ctx)
		s.mu.Lock()
		s.settle(err)
		s.flight = nil
		s.mu.Unlock()
		close(flight)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	return flight
}

// land waits for a flight and returns what it brought.
func (s *session) land(ctx context.Context, flight chan struct{}) (grant, error) {
	select {
	case <-flight:
	case <-ctx.Done():
		return grant{}, s.client.gaveUp(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return grant{}, s.failure
	case !s.valid():
		return grant{}, unavailable(errors.New("vault gave a token that has no time to live"))
	}
	return grant{s.lease.token, s.number}, nil
}

// settle writes down how a login or renewal ended. The caller holds mu.
func (s *session) settle(err error) {
	if err == nil {
		s.failure, s.retryAt, s.delay = nil, time.Time{}, 0
		return
	}
	s.delay = max(firstDelay, min(2*s.delay, longestDelay))
	wait := jitter(s.delay, 0.1)
	_, isRefused := errors.AsType[*refusedError](err)
	if isRefused {
		s.retryAt = time.Now().Add(wait)
	}
	s.failure = unavailable(fmt.Errorf("logging in with %s: %w", s.method.name(), err))
	s.next = time.Now().Add(wait)
	if s.ctx.Err() == nil {
		s.log.Warn("vault login failed", "error", err, "refused", isRefused, "again_in", wait.Round(time.Millisecond))
	}
}

// login asks for a new lease and adopts it.
func (s *session) login(ctx context.Context) error {
	started := time.Now()
	got, err := s.method.login(ctx, s.client)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !got.token.Equal(s.lease.token) {
		s.log.Info("logged in to vault", "ttl", got.ttl, "renewable", got.renewable)
	}
	s.number++
	s.granted = got.ttl
	s.adopt(got, started)
	return nil
}

// adopt makes l the current lease and plans what comes after it. The caller
// holds mu.
func (s *session) adopt(l lease, started time.Time) {
	s.lease, s.started, s.next = l, started, time.Time{}
	after := l.recheck
	if after == 0 {
		after = l.ttl * 2 / 3
	}
	if after > 0 {
		s.next = started.Add(jitter(max(after, shortestRenewal), 0.1))
	}
}

// renew extends the lease, or logs in where that cannot be done.
func (s *session) renew(ctx context.Context) error {
	s.mu.Lock()
	now, granted, valid := s.lease, s.granted, s.valid()
	s.mu.Unlock()
	if !now.renewable || !valid {
		return s.login(ctx)
	}
	started := time.Now()
	renewed, err := ask(ctx, s.client, func() (*api.Secret, error) {
		return s.client.as(now.token).Auth().Token().RenewSelfWithContext(ctx, 0)
	})
	if isTemporary(err) {
		return err
	}
	got, err := leaseOf(renewed)
	if err != nil || got.ttl == 0 {
		// A ttl of 0 is less than a second left, here.
		return s.login(ctx)
	}
	// Close to its maximum life a token is renewed for ever less.
	got.renewable = got.renewable && got.ttl >= granted/2
	got.token = now.token
	s.log.Debug("renewed the vault login", "ttl", got.ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopt(got, started)
	return nil
}

// maintain renews the lease until the context ends.
func (s *session) maintain() {
	for {
		s.mu.Lock()
		next := s.next
		s.mu.Unlock()
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
			continue
		case <-due:
		}
		s.mu.Lock()
		// A flight of somebody else may have moved it.
		if s.next.After(time.Now()) {
			s.mu.Unlock()
			continue
		}
		flight := s.fly(s.renew)
		s.mu.Unlock()
		select {
		case <-flight:
		case <-s.ctx.Done():
			return
		}
	}
}
