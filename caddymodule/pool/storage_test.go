package pool

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

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

// Locks of Caddy's files are ours: they end with the process, which CertMagic's
// may not.
func TestLocksOfFiles(t *testing.T) {
	t.Parallel()
	var all Newest[certmagic.Storage]
	files := &certmagic.FileStorage{Path: t.TempDir()}
	all.Attach(files)
	one, other := Storage(&all), Storage(&all)
	if err := one.Lock(t.Context(), "hubspot x"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := other.Lock(short, "hubspot x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locking what is locked: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(files.Path, "locks", "*.lock")); err != nil || len(left) != 0 {
		t.Errorf("CertMagic's locks: %v, %v", left, err)
	}
	if err := one.Unlock(t.Context(), "hubspot x"); err != nil {
		t.Fatal(err)
	}
	if err := other.Lock(t.Context(), "hubspot x"); err != nil {
		t.Fatal(err)
	}
	if err := other.Unlock(t.Context(), "hubspot x"); err != nil {
		t.Fatal(err)
	}
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
