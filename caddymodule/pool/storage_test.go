package pool

import (
	"context"
	"testing"

	"github.com/caddyserver/certmagic"
)

// namedStorage is a storage that notes its locks.
type namedStorage struct {
	certmagic.Storage
	locked, unlocked []string
}

func (s *namedStorage) Lock(_ context.Context, name string) error {
	s.locked = append(s.locked, name)
	return nil
}

func (s *namedStorage) Unlock(_ context.Context, name string) error {
	s.unlocked = append(s.unlocked, name)
	return nil
}

func TestLockGoesBackToItsStorage(t *testing.T) {
	t.Parallel()
	first, second := new(namedStorage), new(namedStorage)
	var all Newest[certmagic.Storage]
	storage := Storage(&all)
	all.Attach(first)
	if err := storage.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	all.Attach(second)
	if err := storage.Unlock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if len(first.unlocked) != 1 || len(second.unlocked) != 0 {
		t.Errorf("unlocked: %v in the first, %v in the second; want it in the first", first.unlocked, second.unlocked)
	}
	if err := storage.Unlock(t.Context(), "x"); err == nil {
		t.Error("unlocking what is not locked worked")
	}
}
