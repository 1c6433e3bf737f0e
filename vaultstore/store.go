package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// errDenied is a 403 that another login did not change.
var errDenied = fmt.Errorf("%w: vault answered 403", connection.ErrDenied)

// Store keeps connections in Vault. It implements [connection.Store] and is
// safe for concurrent use. Use [New]; the zero value is of no use.
type Store struct {
	config  Config
	paths   paths
	client  *client
	session *session
	ctx     context.Context
	stop    func()
	wg      sync.WaitGroup

	mountGood atomic.Bool
	idKeys    sync.Map // app name to []byte
	flights   singleflight.Group
	rights    rights
	needs     atomic.Pointer[Needs]
	// credentialMounts has the mounts of paths of credentials, by path.
	credentialMounts sync.Map
	complaint        *complaint
}

var _ connection.Store = (*Store)(nil)

// New checks the configuration and returns a store. It reads the files of
// [TLS] and touches no network: the first call logs in. Errors name the
// setting. The store has to be closed.
func New(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client, err := newClient(c)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	s := &Store{
		config:    c,
		paths:     paths{mount: c.Mount, prefix: c.Path},
		client:    client,
		complaint: &complaint{log: c.Logger},
		ctx:       ctx,
		stop:      func() { stop(errClosed) },
	}
	client.breaker = &breaker{log: c.Logger, probe: client.health, ctx: ctx, wg: &s.wg}
	s.session = newSession(ctx, &s.wg, client, c.Auth.method(), c.Logger)
	s.wg.Go(s.session.maintain)
	if c.isPlainRemote() {
		c.Logger.Warn("the address of vault is plain http: tokens go over the network in clear")
	}
	return s, nil
}

// Close stops renewing the login and ends the store's goroutines. Calls that
// are under way may fail. Closing again does nothing.
func (s *Store) Close() error {
	s.stop()
	// Who starts a goroutine looks at the context and starts it under one
	// of these: once they were free, there will be no more.
	for _, mu := range []*sync.Mutex{&s.session.mu, &s.client.breaker.mu} {
		mu.Lock()
		//lint:ignore SA2001 see above
		mu.Unlock()
	}
	s.wg.Wait()
	s.client.http.CloseIdleConnections()
	return nil
}

// Load implements [connection.Store]. A record that an operator deleted in
// Vault is loaded as a tombstone, because its version goes on counting.
func (s *Store) Load(ctx context.Context, key connection.Key) (_ connection.Versioned, err error) {
	defer saying("loading connection", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	id, err := s.id(ctx, key)
	if err != nil {
		return connection.Versioned{}, err
	}
	got, err := s.read(ctx, key.App, id)
	switch {
	case err != nil:
		return connection.Versioned{}, err
	case got.Key == connection.Key{}:
		// The deleted record cannot say whose it was; the id can.
		got.Key = key
	case got.Key != key:
		return connection.Versioned{}, fmt.Errorf("%w: it belongs to another key", connection.ErrCorrupt)
	}
	return got, nil
}

// Save implements [connection.Store].
func (s *Store) Save(ctx context.Context, r connection.Record, based uint64) (_ uint64, err error) {
	defer saying("saving connection", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if !utf8.ValidString(r.User) {
		return 0, errors.New("the user identifier is not valid UTF-8")
	}
	id, err := s.id(ctx, r.Key)
	if err != nil {
		return 0, err
	}
	path, err := s.paths.record(r.App, id)
	if err != nil {
		return 0, err
	}
	return s.write(ctx, path, s.paths.recordRule(r.App), r.Encode(), based)
}

// ID implements [connection.Store]: 32 hex digits.
func (s *Store) ID(ctx context.Context, key connection.Key) (_ string, err error) {
	defer saying("naming connection", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.id(ctx, key)
}

// saying puts what was being done before an error; it is deferred.
func saying(what string, err *error) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", what, *err)
	}
}

// bounded gives a call the store's timeout.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.config.Timeout, errTimeout)
}

// call makes a call that a rule allows with the login's token, once more with
// another token if that is refused. Its errors are ErrNotFound or wrap
// ErrDenied or ErrUnavailable.
func call[T any](ctx context.Context, s *Store, under rule, do func(*api.Client) (T, error)) (T, error) {
	var none T
	g, err := s.session.current(ctx)
	if err != nil {
		return none, err
	}
	for attempt := 0; ; attempt++ {
		got, err := ask(ctx, s.client, func() (T, error) { return do(s.client.as(g.token)) })
		switch {
		case err == nil || errors.Is(err, connection.ErrNotFound):
			s.rights.saw(under, false)
			if attempt > 0 {
				s.session.helped()
			}
			return got, err
		case statusOf(err) != http.StatusForbidden:
			return none, unavailable(err)
		case attempt > 0:
			return none, s.refused(under)
		}
		switch g, err = s.anotherToken(ctx, under, g); {
		case errors.Is(err, errDenied):
			return none, s.refused(under)
		case err != nil:
			return none, unavailable(err)
		}
	}
}

// anotherToken returns another token than the one that Vault answered with
// 403. For what is polled that leads to another login only if asking for the
// mount, which every policy allows, shows that the token is dead.
func (s *Store) anotherToken(ctx context.Context, under rule, denied grant) (grant, error) {
	if !under.polled {
		return s.session.replace(ctx, denied)
	}
	if err := s.verifyMount(ctx); err != nil {
		return grant{}, err
	}
	now, err := s.session.current(ctx)
	if err == nil && now.number == denied.number {
		err = errDenied
	}
	return now, err
}

// refused notes that the login's policy does not have a rule.
func (s *Store) refused(under rule) error {
	err := under.denied()
	if under.path != "" && !under.polled {
		s.rights.saw(under, true)
		s.complaint.say(err)
	}
	return err
}

// shared runs action for all callers that want it at the same time, on no
// caller's context.
func (s *Store) shared(ctx context.Context, name string, action func(context.Context) (any, error)) (any, error) {
	if err := s.client.breaker.allow(); err != nil {
		return nil, err
	}
	done := s.flights.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(s.ctx, backgroundTimeout, errTimeout)
		defer cancel()
		return action(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, s.client.gaveUp(ctx)
	case result := <-done:
		return result.Val, result.Err
	}
}
