package movestore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection/storetest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/movestore"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) storetest.Backing {
		to, from := sidecartest.MemoryStore(t), sidecartest.MemoryStore(t)
		return storetest.Backing{Open: func(*testing.T) connection.Store { return movestore.New(to, from) }}
	}
	storetest.Run(t, fresh)
	storetest.RunDocuments(t, fresh)
}

const app = "hbdev"

func key(user string) connection.Key { return connection.Key{App: app, User: user} }

// record is a live connection.
func record(user, refresh string) connection.Record {
	now := time.Now().Round(0)
	return connection.Record{
		Key: key(user), Status: connection.StatusActive, HubID: 7, Generation: "g-" + user, WriteID: "w-" + refresh,
		AccessToken: secret.New("access-" + refresh), RefreshToken: secret.New(refresh),
		IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute), ConnectedAt: now.Add(-time.Hour), UpdatedAt: now,
	}
}

// failing is a store whose next calls can be made to fail, before or after they
// are done.
type failing struct {
	connection.Store
	// saves counts down; the save at 1 fails, lost says that it was done.
	saves atomic.Int32
	lost  atomic.Bool
}

func (f *failing) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	if f.saves.Add(-1) != 0 {
		return f.Store.Save(ctx, r, based)
	}
	if f.lost.Load() {
		_, _ = f.Store.Save(ctx, r, based)
	}
	return 0, fmt.Errorf("saving: %w", connection.ErrUnavailable)
}

type bench struct {
	to, from *failing
}

func newBench(t *testing.T, records ...connection.Record) *bench {
	t.Helper()
	b := &bench{to: &failing{Store: sidecartest.MemoryStore(t)}, from: &failing{Store: sidecartest.MemoryStore(t)}}
	for _, r := range records {
		mustSave(t, b.from.Store, r, 0)
	}
	return b
}

// sidecar is the store of one process with both.
func (b *bench) sidecar() connection.Store { return movestore.New(b.to, b.from) }

func mustSave(t *testing.T, s connection.Store, r connection.Record, based uint64) uint64 {
	t.Helper()
	version, err := s.Save(t.Context(), r, based)
	if err != nil {
		t.Fatalf("saving %s over version %d: %v", r.User, based, err)
	}
	return version
}

func mustLoad(t *testing.T, s connection.Store, user string) connection.Versioned {
	t.Helper()
	v, err := s.Load(t.Context(), key(user))
	if err != nil {
		t.Fatalf("loading %s: %v", user, err)
	}
	return v
}

// refreshTokens are those that the two stores hold for a user.
func (b *bench) refreshTokens(t *testing.T, user string) (to, from string) {
	t.Helper()
	if v, err := b.to.Load(t.Context(), key(user)); err == nil {
		to = v.RefreshToken.Reveal()
	}
	if v, err := b.from.Load(t.Context(), key(user)); err == nil {
		from = v.RefreshToken.Reveal()
	}
	return to, from
}

// Reading moves nothing, writing does, and only one side has the refresh token
// afterwards. The old side serves with the access token until it ends.
func TestFirstWriteMoves(t *testing.T) {
	t.Parallel()
	b := newBench(t, record("acme", "r1"))
	s := b.sidecar()
	v := mustLoad(t, s, "acme")
	if to, from := b.refreshTokens(t, "acme"); to != "" || from != "r1" {
		t.Fatalf("reading has moved: %q %q", to, from)
	}
	r := v.Record
	r.Claim, r.WriteID = &connection.Claim{ID: "c"}, "w2"
	version := mustSave(t, s, r, v.Version)
	if to, from := b.refreshTokens(t, "acme"); to != "r1" || from != "" {
		t.Errorf("after the write: new %q, old %q", to, from)
	}
	old := mustLoad(t, b.from, "acme")
	if old.Reason != movestore.ReasonMoved || old.AccessToken.Reveal() != "access-r1" {
		t.Errorf("in the old store: %s, %s", old.Status, old.Reason)
	}
	// What is derived from the claim goes on, with what the Manager carries over.
	r.Claim, r.WriteID, r.RefreshToken = nil, "w3", secret.New("r2")
	mustSave(t, s, r, version)
	for _, s := range []connection.Store{s, b.sidecar(), b.to} {
		if got := mustLoad(t, s, "acme"); got.RefreshToken.Reveal() != "r2" || len(got.Extra) != 0 || got.Version != 2 {
			t.Errorf("version %d with %v", got.Version, got.Extra)
		}
	}
}

// A sidecar with the old store alone that is refreshing keeps the others from
// moving, and what it gets is what is moved.
func TestClaimInTheOldStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, record("acme", "r1"))
	s := b.sidecar()
	before := mustLoad(t, s, "acme")

	claimed := record("acme", "r1")
	claimed.Claim, claimed.WriteID = &connection.Claim{ID: "theirs"}, "theirs"
	mustSave(t, b.from, claimed, 1)
	if _, err := s.Save(t.Context(), before.Record, before.Version); !errors.Is(err, connection.ErrConflict) {
		t.Fatalf("moving what they claim: %v", err)
	}
	if got := mustLoad(t, s, "acme"); got.Claim == nil || got.Claim.ID != "theirs" {
		t.Fatalf("their claim is not seen: %+v", got.Claim)
	}
	mustSave(t, b.from, record("acme", "r2"), 2)
	v := mustLoad(t, s, "acme")
	v.WriteID = "ours"
	mustSave(t, s, v.Record, v.Version)
	if _, err := b.from.Save(t.Context(), claimed, 3); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("a late write to the old store: %v", err)
	}
	if to, from := b.refreshTokens(t, "acme"); to != "r2" || from != "" {
		t.Errorf("new %q, old %q", to, from)
	}
}

// Whatever fails or is lost at whichever write, some side has the refresh
// token, nobody can use one that another has, and the next reading goes on.
func TestCrashesAtEachWrite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		fail func(b *bench)
	}{
		{"the first is not done", func(b *bench) { b.to.saves.Store(1) }},
		{"the answer to the first is lost", func(b *bench) { b.to.lost.Store(true); b.to.saves.Store(1) }},
		{"the second is not done", func(b *bench) { b.from.saves.Store(1) }},
		{"the answer to the second is lost", func(b *bench) { b.from.lost.Store(true); b.from.saves.Store(1) }},
	} {
		for _, meanwhile := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, meanwhile), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, record("acme", "r1"))
				crashed := b.sidecar()
				v := mustLoad(t, crashed, "acme")
				tc.fail(b)
				_, err := crashed.Save(t.Context(), v.Record, v.Version)
				if to, from := b.refreshTokens(t, "acme"); to == "" && from == "" {
					t.Fatal("the refresh token is lost")
				}
				want := "r1"
				if _, from := b.refreshTokens(t, "acme"); meanwhile && from != "" {
					// The old side refreshes, and the token rotates.
					mustSave(t, b.from.Store, record("acme", "r2"), 1)
					want = "r2"
				}
				next := b.sidecar()
				got := mustLoad(t, next, "acme")
				if got.RefreshToken.Reveal() != want {
					t.Fatalf("after %v: %s, want %s", err, got.RefreshToken.Reveal(), want)
				}
				r := got.Record
				r.WriteID = "next"
				mustSave(t, next, r, got.Version)
				if to, from := b.refreshTokens(t, "acme"); to != want || from != "" {
					t.Errorf("in the end: new %q, old %q, want %q and none", to, from, want)
				}
			})
		}
	}
}

// Of two sidecars that move one record, one wins, and the other learns it.
func TestTwoMove(t *testing.T) {
	t.Parallel()
	b := newBench(t, record("acme", "r1"))
	var records []connection.Versioned
	var stores []connection.Store
	for range 8 {
		stores = append(stores, b.sidecar())
		records = append(records, mustLoad(t, stores[len(stores)-1], "acme"))
	}
	results := make(chan error, len(stores))
	for i, s := range stores {
		r := records[i].Record
		r.WriteID = fmt.Sprint("w", i)
		go func() {
			_, err := s.Save(context.Background(), r, 0)
			results <- err
		}()
	}
	won := 0
	for range stores {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, connection.ErrConflict):
			t.Error(err)
		}
	}
	if got := mustLoad(t, b.sidecar(), "acme"); won != 1 || got.Version != 1 {
		t.Errorf("%d have won, version %d", won, got.Version)
	}
}

func listed(t *testing.T, s connection.Store) (users []string) {
	t.Helper()
	for cursor := ""; ; {
		page, err := s.List(t.Context(), app, cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Records {
			users = append(users, v.User)
		}
		if cursor = page.Next; cursor == "" {
			slices.Sort(users)
			return users
		}
	}
}

// All is there once, before and after, and nobody who was disconnected comes
// back.
func TestMoveAll(t *testing.T) {
	t.Parallel()
	var records []connection.Record
	var want []string
	for n := range 25 {
		records = append(records, record(fmt.Sprintf("user-%02d", n), fmt.Sprint("r", n)))
		want = append(want, records[n].User)
	}
	gone := connection.Record{Key: key("gone"), Status: connection.StatusDisconnected, HubID: 7, WriteID: "w", Reason: "disconnected"}
	b := newBench(t, append(records, gone)...)
	want = append([]string{"gone"}, want...)
	s := b.sidecar()
	first := mustLoad(t, s, "user-03") // moved by its use
	first.WriteID = "used"
	mustSave(t, s, first.Record, first.Version)
	// Disconnected here, while it was in the old store.
	tomb := mustLoad(t, s, "user-04")
	tomb.Status, tomb.RefreshToken, tomb.AccessToken, tomb.WriteID = connection.StatusDisconnected, secret.Text{}, secret.Text{}, "tomb"
	mustSave(t, s, tomb.Record, tomb.Version)
	if got := listed(t, s); !slices.Equal(got, want) {
		t.Errorf("before: %v", got)
	}
	mover := movestore.NewMover(s)
	moved := 0
	for pass := range 2 {
		for cursor := ""; ; {
			p, err := mover.Move(t.Context(), app, cursor, 4)
			if err != nil || p.Waiting > 0 || len(p.Disconnected) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			moved += p.Moved
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if moved != 24 { // all but those two; the tombstone too
			t.Errorf("after pass %d: %d moved", pass+1, moved)
		}
	}
	for _, s := range []connection.Store{s, b.to} {
		if got := listed(t, s); !slices.Equal(got, want) {
			t.Errorf("after: %v", got)
		}
	}
	for _, user := range []string{"gone", "user-04"} {
		if got := mustLoad(t, b.to, user); got.Status != connection.StatusDisconnected {
			t.Errorf("%s has come back: %s", user, got.Status)
		}
	}
	for _, user := range want {
		if _, from := b.refreshTokens(t, user); from != "" {
			t.Errorf("the old store has a refresh token of %s", user)
		}
	}
}

// What a sidecar with the old store alone does after a record was moved counts.
func TestLateChangesInTheOldStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, record("installs", "r1"), record("leaves", "r1"), record("late", "r1"))
	s := b.sidecar()
	mover := movestore.NewMover(s)
	pass := func() movestore.Pass {
		t.Helper()
		p, err := mover.Move(t.Context(), app, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := pass(); p.Moved != 3 {
		t.Fatalf("%+v", p)
	}
	again := record("installs", "r2")
	again.Generation, again.ConnectedAt = "another", time.Now().Add(time.Minute)
	mustSave(t, b.from, again, 2)
	left := mustLoad(t, b.from, "leaves")
	left.Status, left.AccessToken, left.Reason, left.WriteID = connection.StatusDisconnected, secret.Text{}, "disconnected", "left"
	mustSave(t, b.from, left.Record, 2)
	late := record("late", "r2")
	late.IssuedAt = time.Now().Add(time.Minute)
	mustSave(t, b.from, late, 2)

	p := pass()
	if p.Moved != 2 || !slices.Equal(p.Disconnected, []string{"leaves"}) {
		t.Errorf("%+v", p)
	}
	for _, user := range []string{"installs", "late"} {
		if to, from := b.refreshTokens(t, user); to != "r2" || from != "" {
			t.Errorf("%s: new %q, old %q", user, to, from)
		}
	}
}

// A claim that nobody ends is respected for the lease, and the same place twice
// is found out before anything is lost.
func TestMoveWaitsAndRefuses(t *testing.T) {
	t.Parallel()
	claimed := record("acme", "r1")
	claimed.Claim = &connection.Claim{ID: "dead"}
	b := newBench(t, claimed)
	mover := movestore.NewMover(b.sidecar())
	for range 2 {
		if p, err := mover.Move(t.Context(), app, "", 10); err != nil || p.Waiting != 1 || p.Moved != 0 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	same := movestore.NewMover(movestore.New(b.from, b.from))
	if _, err := same.Move(t.Context(), app, "", 10); !errors.Is(err, movestore.ErrSameStore) {
		t.Errorf("the same place: %v", err)
	}
	if _, from := b.refreshTokens(t, "acme"); from != "r1" {
		t.Error("the refresh token is lost")
	}
	if movestore.NewMover(b.from) != nil {
		t.Error("another store has a mover")
	}
}

func TestDocumentsMove(t *testing.T) {
	t.Parallel()
	to, from := sidecartest.MemoryStore(t).(connection.DocumentStore), sidecartest.MemoryStore(t).(connection.DocumentStore)
	if _, err := from.SaveDocument(t.Context(), "freezes", "old", 0); err != nil {
		t.Fatal(err)
	}
	s := movestore.New(to.(connection.Store), from.(connection.Store)).(*movestore.WithDocuments)
	if text, version, err := s.LoadDocument(t.Context(), "freezes"); err != nil || text != "old" || version != 0 {
		t.Fatalf("%q, %d, %v", text, version, err)
	}
	if n, err := s.MoveDocuments(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if text, version, err := to.LoadDocument(t.Context(), "freezes"); err != nil || text != "old" || version != 1 {
		t.Errorf("%q, %d, %v", text, version, err)
	}
	if _, err := s.SaveDocument(t.Context(), "freezes", "new", 1); err != nil {
		t.Fatal(err)
	}
	if text, _, err := from.LoadDocument(t.Context(), "freezes"); err != nil || text != "new" {
		t.Errorf("sidecars with the old store alone have %q, %v", text, err)
	}
}
