package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// MaxStale is how long keys are used that could not be confirmed.
	MaxStale = 24 * time.Hour

	// filePause and fetchPause are the least time between two looks at a
	// file, and between two requests to an address.
	filePause  = 5 * time.Second
	fetchPause = 10 * time.Second
	// refreshEvery is when keys of an address are fetched again, and
	// refreshAgain when that has failed.
	refreshEvery = time.Hour
	refreshAgain = time.Minute
)

// errUnchanged is how a source says that the keys are those of before.
var errUnchanged = errors.New("the keys are unchanged")

// source is where keys come from. It is asked by one goroutine at a time.
type source interface {
	// fetch returns the issuer's keys, or errUnchanged.
	fetch(ctx context.Context) ([]jose.JSONWebKey, error)
	String() string
}

// KeySet holds the keys of an issuer and keeps them fresh. Make one with
// [NewFileKeySet] or [NewURLKeySet]. It is safe for concurrent use.
type KeySet struct {
	source source
	logger *slog.Logger
	// pause is the least time between two fetches.
	pause time.Duration
	// look has the source asked before keys are used, after each pause.
	look bool
	// every is when keys are fetched without being asked for; 0 for never.
	every time.Duration

	// current is nil as long as there are no keys.
	current atomic.Pointer[keys]

	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	flight *flight // the fetch under way
	tried  time.Time
	err    error // of the last fetch
	timer  *time.Timer
	closed bool
	wg     sync.WaitGroup
}

// flight is a fetch that several may wait for.
type flight struct {
	done chan struct{}
	err  error
}

func newKeySet(s source, logger *slog.Logger) *KeySet {
	set := &KeySet{source: s, logger: logger}
	set.ctx, set.cancel = context.WithCancel(context.Background())
	return set
}

// Close ends what is under way and waits for it. Keys in hand can be used
// still, for requests that are.
func (s *KeySet) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// verify checks a token's signature and reads its claims. A token that names
// a key that is not here has the keys fetched.
func (s *KeySet) verify(ctx context.Context, token *jwt.JSONWebToken, claims *jwt.Claims) error {
	if s.look {
		// What is wrong with a file is logged; the keys in hand are used.
		_ = s.renew(ctx)
	}
	err := s.tryKeys(token, claims)
	if !errors.Is(err, errNoKey) {
		return err
	}
	if cause := s.renew(ctx); cause != nil {
		return fmt.Errorf("%w: %w", ErrKeysUnavailable, cause)
	}
	if err = s.tryKeys(token, claims); errors.Is(err, errNoKey) {
		return ErrUnknownKey
	}
	return err
}

func (s *KeySet) tryKeys(token *jwt.JSONWebToken, claims *jwt.Claims) error {
	current := s.current.Load()
	if current == nil || time.Since(current.since) > MaxStale {
		return errNoKey
	}
	return current.verify(token, claims)
}

// renew fetches the keys, or waits for the fetch that is under way. After a
// fetch it does nothing for a pause, but repeat that one's error.
func (s *KeySet) renew(ctx context.Context) error {
	f, err := s.join()
	if f == nil {
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *KeySet) join() (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.flight != nil:
		return s.flight, nil
	case s.closed, !s.tried.IsZero() && time.Since(s.tried) < s.pause:
		return nil, s.err
	}
	return s.start(), nil
}

// start begins a fetch. mu is held and there is none under way.
func (s *KeySet) start() *flight {
	f := &flight{done: make(chan struct{})}
	s.flight, s.tried = f, time.Now()
	s.wg.Go(func() {
		err := s.fetch()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flight, s.err, f.err = nil, err, err
		close(f.done)
		s.schedule()
	})
	return f
}

// fetch asks the source and takes its keys.
func (s *KeySet) fetch() error {
	list, err := s.source.fetch(s.ctx)
	current := s.current.Load()
	switch {
	case err == nil:
		s.current.Store(&keys{list: list, since: time.Now()})
		return nil
	case errors.Is(err, errUnchanged) && current != nil:
		s.current.Store(&keys{list: current.list, since: time.Now()})
		return nil
	case s.ctx.Err() != nil:
		return err
	}
	left := time.Duration(0)
	if current != nil {
		left = max(0, MaxStale-time.Since(current.since))
	}
	s.logger.Warn("the keys of an issuer of JWTs cannot be had",
		slog.String("from", s.source.String()), slog.Any("error", err), slog.Duration("old_keys_good_for", left))
	return err
}

// schedule plans the next fetch that nobody has to ask for. mu is held.
func (s *KeySet) schedule() {
	if s.every == 0 || s.closed {
		return
	}
	wait := s.every
	if s.err != nil {
		wait = refreshAgain
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.flight == nil && !s.closed {
			s.start()
		}
	})
}
