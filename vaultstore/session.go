package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
	// left is how many more requests the token is good for, where its uses
	// are limited.
	left int
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

// current returns a token for one request, after a login if there is none.
func (s *session) current(ctx context.Context) (grant, error) {
	for {
		g, _, err := s.takeOrLogIn(ctx, 0)
		if err != nil || g != (grant{}) {
			return g, err
		}
		// The new token's uses may all be others' by now.
	}
}

// replace returns another token than the refused one, which Vault answered
// with 403. That may be the policy's doing as well as the token's, so logins
// on this ground become rare when they do not help, which helped says; the
// error is then the last login's, or errDenied.
func (s *session) replace(ctx context.Context, denied grant) (grant, error) {
	s.mu.Lock()
	now := time.Now()
	switch {
	case s.number != denied.number:
		s.mu.Unlock()
		return s.current(ctx)
	case s.flight == nil && s.failure != nil && now.Before(s.retryAt):
		defer s.mu.Unlock()
		return grant{}, s.failure
	case s.flight == nil && now.Before(s.replaceAt):
		defer s.mu.Unlock()
		return grant{}, errDenied
	case s.flight == nil:
		s.replaceDelay = max(firstDelay, min(2*s.replaceDelay, longestDelay))
		if now.Sub(s.replaced) > 2*longestDelay {
			s.replaceDelay = firstDelay
		}
		s.replaced, s.replaceAt = now, now.Add(jitter(s.replaceDelay, 0.1))
	}
	if err := s.flyAndLand(ctx); err != nil {
		return grant{}, err
	}
	return s.current(ctx)
}

// helped notes that a request was refused with one token and worked with
// the next: the next 403 is worth a login at once.
func (s *session) helped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaceDelay, s.replaceAt = 0, time.Time{}
}

// flyAndLand logs in and waits for it. The caller holds mu; it is unlocked.
func (s *session) flyAndLand(ctx context.Context) error {
	if err := s.client.breaker.allow(); err != nil {
		// Nor is it worth waiting for one that is under way.
		defer s.mu.Unlock()
		return err
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

// land waits for a flight and returns why it brought no token.
func (s *session) land(ctx context.Context, flight chan struct{}) error {
	select {
	case <-flight:
	case <-ctx.Done():
		return s.client.gaveUp(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case !s.valid():
		return unavailable(errors.New("vault gave a token that has no time to live"))
	}
	return nil
}

// settle writes down how a login or renewal ended. The caller holds mu.
func (s *session) settle(err error) {
	if err == nil {
		s.failure, s.retryAt, s.delay = nil, time.Time{}, 0
		return
	}
	s.delay = max(firstDelay, min(2*s.delay, longestDelay))
	wait := jitter(s.delay, 0.1)
	refusal, isRefused := errors.AsType[*refusedError](err)
	isHeld := isRefused && refusal.held
	if isHeld {
		s.delay, wait = 0, jitter(lookAgain, 0.1)
	}
	if isRefused {
		s.retryAt = time.Now().Add(wait)
	}
	failure := unavailable(fmt.Errorf("logging in with %s: %w", s.method.name(), err))
	isNews := !isHeld || s.failure == nil || s.failure.Error() != failure.Error()
	s.failure = failure
	s.next = time.Now().Add(wait)
	if s.ctx.Err() == nil && isNews {
		again := wait.Round(time.Millisecond).String()
		if isHeld {
			again = "when the credential has changed, or much later"
		}
		s.log.Warn("vault login failed", "error", err, "refused", isRefused, "again", again)
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
	known := s.lease
	s.adopt(got, started)
	s.count(known)
	return nil
}
