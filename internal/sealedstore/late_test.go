package sealedstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
)

// TestKeyComesLater: making a store reads no key, and every use of it until
// there is one is refused as unavailable, and nothing is written. The
// cause is that of a key file's missing folder, which must not be taken for a
// storage that holds nothing.
func TestKeyComesLater(t *testing.T) {
	t.Parallel()
	key, err := sealedstore.ParseKey(keyA)
	if err != nil {
		t.Fatal(err)
	}
	var calls int
	missing := fmt.Errorf("reading file: %w", fs.ErrNotExist)
	storage := newMemory()
	store, err := sealedstore.New(storage, func() (sealedstore.Key, error) {
		calls++
		return key, missing
	})
	if err != nil || calls != 0 {
		t.Fatalf("New = %v after %d calls for the key; want none", err, calls)
	}
	uses := map[string]func(ctx context.Context) error{
		"Load": func(ctx context.Context) error { _, err := store.Load(ctx, acme); return err },
		"Save": func(ctx context.Context) error { _, err := store.Save(ctx, record(acme), 0); return err },
		"List": func(ctx context.Context) error { _, err := store.List(ctx, "hbdev", "", 10); return err },
		"ID":   func(ctx context.Context) error { _, err := store.ID(ctx, acme); return err },
		"LoadDocument": func(ctx context.Context) error {
			_, _, err := store.LoadDocument(ctx, "freezes")
			return err
		},
		"SaveDocument": func(ctx context.Context) error {
			_, err := store.SaveDocument(ctx, "freezes", "text", 0)
			return err
		},
	}
	for name, use := range uses {
		before := calls
		err := use(t.Context())
		if !errors.Is(err, connection.ErrUnavailable) || !errors.Is(err, missing) || !strings.Contains(err.Error(), "reading the store's key: reading file") {
			t.Errorf("%s without a key: %v", name, err)
		}
		if calls != before+1 {
			t.Errorf("%s asks %d times for the key", name, calls-before)
		}
	}
	if len(storage.files) != 0 {
		t.Errorf("the storage holds %d files", len(storage.files))
	}

	missing = nil
	calls = 0
	save(t, store, record(acme), 0)
	for name, use := range uses {
		if err := use(t.Context()); err != nil && !errors.Is(err, connection.ErrConflict) && !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("%s with a key: %v", name, err)
		}
	}
	if calls != 1 {
		t.Errorf("a key that was there was asked for %d times", calls)
	}
	if got, err := open(t, storage, keyA).Load(t.Context(), acme); err != nil || got.Version != 1 {
		t.Errorf("another store with the same key loads %+v, %v", got, err)
	}
}

// TestKeyIsMadeOnce: callers at once get one key, not one each.
func TestKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	var calls, inside atomic.Int32
	store, err := sealedstore.New(newMemory(), func() (sealedstore.Key, error) {
		if inside.Add(1) > 1 {
			t.Error("two callers ask for the key at once")
		}
		defer inside.Add(-1)
		if calls.Add(1) < 3 {
			return sealedstore.Key{}, errors.New("not yet")
		}
		return sealedstore.ParseKey(keyA)
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var failed atomic.Int32
	start := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			<-start
			if _, err := store.ID(t.Context(), acme); err != nil {
				failed.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if calls.Load() != 3 || failed.Load() != 2 {
		t.Errorf("asked %d times, %d uses failed; want 3 and 2", calls.Load(), failed.Load())
	}
}
