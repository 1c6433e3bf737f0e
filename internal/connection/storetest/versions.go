package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func testSaveAndLoad(t *testing.T, b Backing) {
	s := b.Open(t)
	want := sample(key("acme"))
	version := save(t, s, want, 0)
	wantRecord(t, load(t, s, want.Key), want, version)
}

func testVersionsCount(t *testing.T, b Backing) {
	s := b.Open(t)
	var version uint64
	for range 12 {
		want := sample(key("acme"))
		version = save(t, s, want, version)
		wantRecord(t, load(t, s, want.Key), want, version)
	}
}

func testNotFound(t *testing.T, b Backing) {
	s := b.Open(t)
	save(t, s, sample(key("acme")), 0)
	for _, k := range []connection.Key{key("nobody"), {App: "other", User: "acme"}} {
		if _, err := s.Load(t.Context(), k); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("Load of an unknown key in app %q: error = %v; want ErrNotFound", k.App, err)
		}
	}
}

func testConflicts(t *testing.T, b Backing) {
	s := b.Open(t)
	k := key("acme")
	save(t, s, sample(k), save(t, s, sample(k), 0))
	want := sample(k)
	save(t, s, want, 2)
	for _, tc := range []struct {
		name  string
		key   connection.Key
		based uint64
	}{
		{"create what exists", k, 0},
		{"stale by one", k, 2},
		{"stale by two", k, 1},
		{"from the future", k, 4},
		{"update what does not exist", key("nobody"), 1},
	} {
		if _, err := s.Save(t.Context(), sample(tc.key), tc.based); !errors.Is(err, connection.ErrConflict) {
			t.Errorf("%s: error = %v; want ErrConflict", tc.name, err)
		}
	}
	wantRecord(t, load(t, s, k), want, 3)
	if _, err := s.Load(t.Context(), key("nobody")); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Load after a refused update: error = %v; want ErrNotFound", err)
	}
}

// testOneWinnerPerVersion lets 32 writers race for each of a few versions.
func testOneWinnerPerVersion(t *testing.T, b Backing) {
	handles := []connection.Store{b.Open(t), b.Open(t)}
	k := key("acme")
	const writers, rounds = 32, 4
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		start := make(chan struct{})
		records := make([]connection.Record, writers)
		errs := make([]error, writers)
		for i := range writers {
			records[i] = sample(k)
			wg.Go(func() {
				<-start
				version, err := handles[i%2].Save(t.Context(), records[i], round)
				if err == nil && version != round+1 {
					err = fmt.Errorf("new version = %d; want %d", version, round+1)
				}
				errs[i] = err
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: writers %d and %d both won version %d", round, winner, i, round+1)
			case err == nil:
				winner = i
			case !errors.Is(err, connection.ErrConflict):
				t.Fatalf("round %d: loser's error = %v; want ErrConflict", round, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		wantRecord(t, load(t, handles[0], k), records[winner], round+1)
	}
}

func testUnknownFields(t *testing.T, b Backing) {
	s := b.Open(t)
	r := sample(key("acme"))
	r.Extra = map[string]string{"a_later_version": "keeps this", "and": "this: \"\\ \n"}
	save(t, s, r, 0)
	got := load(t, s, r.Key)
	wantRecord(t, got, r, 1)
	got.Record.Reason = "changed"
	save(t, s, got.Record, got.Version)
	wantRecord(t, load(t, s, r.Key), got.Record, 2)
}

// testRecordsAreValues holds that a store keeps no reference to what it was
// given and hands out none to what it keeps.
func testRecordsAreValues(t *testing.T, b Backing) {
	s := b.Open(t)
	want := sample(key("acme"))
	given := want
	given.Extra = map[string]string{"later": "a"}
	given.Scopes = slices.Clone(want.Scopes)
	want.Extra = map[string]string{"later": "a"}
	save(t, s, given, 0)
	given.Extra["later"], given.Scopes[0] = "b", "b"
	got := load(t, s, given.Key)
	wantRecord(t, got, want, 1)
	got.Extra["later"], got.Scopes[0], got.Claim.ID = "c", "c", "c"
	wantRecord(t, load(t, s, given.Key), want, 1)
}

func testTwoHandles(t *testing.T, b Backing) {
	one, two := b.Open(t), b.Open(t)
	k := key("acme")
	first := sample(k)
	save(t, one, first, 0)
	wantRecord(t, load(t, two, k), first, 1)
	second := sample(k)
	save(t, two, second, 1)
	wantRecord(t, load(t, one, k), second, 2)
	if _, err := one.Save(t.Context(), sample(k), 1); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("Save on a version that another handle replaced: error = %v; want ErrConflict", err)
	}
	page, err := one.List(t.Context(), app, "", 10)
	if err != nil || len(page.Records) != 1 || page.Records[0].Version != 2 {
		t.Errorf("List after another handle's save = %d records, error %v; want version 2 of one", len(page.Records), err)
	}
}
