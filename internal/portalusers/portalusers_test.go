package portalusers_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/portalusers"
)

// store is a list of connections that takes its time.
type store struct {
	mu      sync.Mutex
	records []connection.Record
	err     error
	takes   time.Duration
	reads   int
}

func (s *store) list(_ context.Context, isWanted func(int64) bool, do func(connection.Record) error) error {
	s.mu.Lock()
	records, err := slices.Clone(s.records), s.err
	s.reads++
	s.mu.Unlock()
	time.Sleep(s.takes)
	if err != nil {
		return err
	}
	for _, r := range records {
		if isWanted(r.HubID) {
			if err := do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func record(user string, hubID int64) connection.Record {
	return connection.Record{Key: connection.Key{App: "hbdev", User: user}, HubID: hubID}
}

func want(t *testing.T, d *portalusers.Directory, hubID int64, users ...string) {
	t.Helper()
	if got, err := d.Users(t.Context(), hubID); err != nil || !slices.Equal(got, users) {
		t.Errorf("Users(%d) = %v, %v; want %v", hubID, got, err, users)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{records: []connection.Record{record("b", 1), record("a", 1), record("c", 2)}, takes: time.Second}
		d := portalusers.New(s.list)
		// A burst is one reading.
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { want(t, d, 1, "a", "b") })
		}
		wg.Wait()
		want(t, d, 2, "c")
		want(t, d, 3)
		if s.reads != 1 {
			t.Errorf("the store was read %d times; want once", s.reads)
		}
		s.records = append(s.records, record("d", 3), record("d", 1))
		time.Sleep(11 * time.Second)
		want(t, d, 3, "d") // was unknown, and is read again sooner
		want(t, d, 1, "a", "b", "d")
		s.records = s.records[1:]
		time.Sleep(15 * time.Second)
		want(t, d, 1, "a", "b", "d") // is not read again yet
		time.Sleep(6 * time.Second)
		want(t, d, 1, "a", "d")
		if s.reads != 3 {
			t.Errorf("the store was read %d times; want 3", s.reads)
		}
	})
}

func TestChangesOfThisProcessAreReadSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{records: []connection.Record{record("a", 1)}}
		d := portalusers.New(s.list)
		want(t, d, 1, "a")
		s.records = append(s.records, record("b", 1))
		d.Event(connection.Event{Kind: connection.EventRefreshed, HubID: 1})
		time.Sleep(time.Second)
		want(t, d, 1, "a")
		d.Event(connection.Event{Kind: connection.EventConnected, HubID: 1})
		want(t, d, 1, "a", "b")
	})
}

func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{records: []connection.Record{record("a", 1)}, err: errors.New("away")}
		d := portalusers.New(s.list)
		if _, err := d.Users(t.Context(), 1); !errors.Is(err, s.err) {
			t.Errorf("Users: error = %v; want the store's", err)
		}
		s.err = nil
		want(t, d, 1, "a")
		s.err = errors.New("away")
		time.Sleep(time.Hour)
		want(t, d, 1, "a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := portalusers.New(s.list).Users(ctx, 1); err == nil {
			t.Error("Users with a context that has ended: no error")
		}
	})
}
