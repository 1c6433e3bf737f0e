package storetest

import (
	"errors"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func testErase(t *testing.T, b Backing) {
	s := b.Open(t)
	k, bystander := key("gone"), sample(key("bystander"))
	save(t, s, bystander, 0)
	var old []connection.Record
	var version uint64
	for range 5 {
		r := sample(k)
		old = append(old, r)
		version = save(t, s, r, version)
	}
	last := tombstone(k)
	version = save(t, s, last, version)

	for range 2 {
		if err := s.Erase(t.Context(), k, version); err != nil {
			t.Fatalf("Erase: %v", err)
		}
		wantRecord(t, load(t, s, k), last, version)
	}
	if b.Holds != nil {
		for i, r := range old {
			for name, token := range map[string]string{"access": r.AccessToken.Reveal(), "refresh": r.RefreshToken.Reveal()} {
				if b.Holds(t, k, token) {
					t.Errorf("the %s token of version %d can still be read", name, i+1)
				}
			}
		}
		if !b.Holds(t, k, last.WriteID) {
			t.Error("the newest version cannot be found by Holds")
		}
	}
	if _, err := s.Save(t.Context(), sample(k), version-1); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("late save after Erase: error = %v; want ErrConflict", err)
	}
	if _, err := s.Save(t.Context(), sample(k), 0); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("create after Erase: error = %v; want ErrConflict", err)
	}
	again := sample(k)
	wantRecord(t, load(t, s, k), last, version)
	save(t, s, again, version)
	wantRecord(t, load(t, s, k), again, version+1)
	wantRecord(t, load(t, s, bystander.Key), bystander, 1)
}

func testEraseNothing(t *testing.T, b Backing) {
	s := b.Open(t)
	if err := s.Erase(t.Context(), key("nobody"), 3); err != nil {
		t.Errorf("Erase of what is not there: %v", err)
	}
	if _, err := s.Load(t.Context(), key("nobody")); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Load after it: error = %v; want ErrNotFound", err)
	}
	r := sample(key("acme"))
	save(t, s, r, 0)
	for _, keep := range []uint64{0, 1} {
		if err := s.Erase(t.Context(), r.Key, keep); err != nil {
			t.Errorf("Erase of what is older than version %d: %v", keep, err)
		}
	}
	wantRecord(t, load(t, s, r.Key), r, 1)
}
