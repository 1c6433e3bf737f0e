package scopeuse_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// store keeps a document in memory. It is what several sidecars share.
type store struct {
	mu           sync.Mutex
	text         string
	version      uint64
	fail         error // if set, what every call returns
	loads, saves int
	// beforeSave is called ahead of each save, once.
	beforeSave func()
}

func (s *store) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	switch {
	case name != "scopes":
		return "", 0, connection.ErrCorrupt
	case s.fail != nil:
		return "", 0, s.fail
	case ctx.Err() != nil:
		return "", 0, ctx.Err()
	case s.version == 0:
		return "", 0, connection.ErrNotFound
	}
	return s.text, s.version, nil
}

func (s *store) SaveDocument(_ context.Context, name, text string, based uint64) (uint64, error) {
	s.mu.Lock()
	before := s.beforeSave
	s.beforeSave = nil
	s.mu.Unlock()
	if before != nil {
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := connection.CheckDocument(name, text); err != nil {
		return 0, err
	}
	switch {
	case s.fail != nil:
		return 0, s.fail
	case based != s.version:
		return 0, connection.ErrConflict
	}
	s.saves++
	s.text, s.version = text, based+1
	return s.version, nil
}

func (s *store) set(change func(s *store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *store) failing(err error) { s.set(func(s *store) { s.fail = err }) }

func (s *store) counts() (loads, saves int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.saves
}

// keeper makes a Keeper that has started, and closes it when the test ends.
func keeper(t testing.TB, c scopeuse.Config) *scopeuse.Keeper {
	k := scopeuse.New(c)
	k.Start()
	t.Cleanup(func() { k.Close(context.Background()) })
	return k
}

const (
	contacts  = "/crm/objects/2026-09/contacts"
	companies = "/crm/objects/2026-09/companies"
	acme      = "0123456789ab"
	globex    = "ba9876543210"
)

func oneOf(scopes ...string) []hubspot.ScopeNeed { return []hubspot.ScopeNeed{{Scopes: scopes}} }

func allOf(scopes ...string) []hubspot.ScopeNeed {
	return []hubspot.ScopeNeed{{All: true, Scopes: scopes}}
}

// refusal returns what a report has of a refusal for a scope.
func refusal(r scopeuse.Report, scope string) *scopeuse.Refusal {
	for i := range r.Refusals {
		if slices.Contains(r.Refusals[i].Scopes, scope) {
			return &r.Refusals[i]
		}
	}
	return nil
}

func wantNeeded(t *testing.T, r scopeuse.Report, scope string, want time.Time, within time.Duration) {
	t.Helper()
	if got := r.Needed[scope]; want.IsZero() != got.IsZero() || want.Sub(got).Abs() > within {
		t.Errorf("%s was last needed at %v, want %v", scope, got, want)
	}
}
