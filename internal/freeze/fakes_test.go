package freeze_test

import (
	"context"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// store keeps documents in memory, and their copies. It is what several
// sidecars share.
type store struct {
	mu      sync.Mutex
	text    string
	version uint64
	// fail, if set, is what every call returns.
	fail error
	// lagging is how many loads give the version before.
	lagging  int
	previous string
	loads    int
	// beforeSave is called ahead of each save, once.
	beforeSave func()
	// hold, if set, keeps loads until it is closed.
	hold chan struct{}
}

func (s *store) LoadDocument(ctx context.Context, _ string) (string, uint64, error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	switch {
	case s.fail != nil:
		return "", 0, s.fail
	case s.lagging > 0:
		s.lagging--
		if s.version == 1 {
			return "", 0, connection.ErrNotFound
		}
		return s.previous, s.version - 1, nil
	case s.version == 0:
		return "", 0, connection.ErrNotFound
	}
	return s.text, s.version, nil
}

func (s *store) SaveDocument(_ context.Context, _, text string, based uint64) (uint64, error) {
	s.mu.Lock()
	before := s.beforeSave
	s.beforeSave = nil
	s.mu.Unlock()
	if before != nil {
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fail != nil:
		return 0, s.fail
	case based != s.version:
		return 0, connection.ErrConflict
	}
	s.previous, s.text, s.version = s.text, text, based+1
	return s.version, nil
}

func (s *store) set(change func(s *store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *store) failing(err error) { s.set(func(s *store) { s.fail = err }) }

// copies keeps one copy in memory.
type copies struct {
	mu      sync.Mutex
	text    string
	version uint64
	fail    error
}

func (c *copies) KeepDocument(_, text string, version uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text, c.version = text, version
	return c.fail
}

func (c *copies) RecallDocument(string) (string, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail == nil && c.version == 0 {
		return "", 0, connection.ErrNotFound
	}
	return c.text, c.version, c.fail
}

func (c *copies) ForgetDocument(string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text, c.version = "", 0
	return c.fail
}

func (c *copies) failing(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

// keeper makes a Keeper and closes it when the test ends.
func keeper(t testing.TB, c freeze.Config) *freeze.Keeper {
	k := freeze.New(c)
	t.Cleanup(k.Close)
	return k
}

func mustFreeze(t *testing.T, k *freeze.Keeper, s freeze.Selector) {
	t.Helper()
	if err := k.Freeze(t.Context(), freeze.Freeze{Selector: s}); err != nil {
		t.Fatalf("Freeze: %v", err)
	}
}

// frozen reports whether a call is stopped, and fails the test where that is
// not known.
func frozen(t *testing.T, k *freeze.Keeper, c freeze.Call) bool {
	t.Helper()
	f, err := k.Check(t.Context(), c)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return f != nil
}
