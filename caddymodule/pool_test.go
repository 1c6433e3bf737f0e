package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestPoolKeysTellSettingsApart(t *testing.T) {
	keys := map[string]poolKey{
		"empty":            newKeyMaker("k").key(),
		"another kind":     newKeyMaker("l").key(),
		"one value":        newKeyMaker("k").add("a", "bc").key(),
		"split elsewhere":  newKeyMaker("k").add("ab", "c").key(),
		"two values":       newKeyMaker("k").add("a", "b", "c").key(),
		"two settings":     newKeyMaker("k").add("a", "b").add("c").key(),
		"another order":    newKeyMaker("k").add("c").add("a", "b").key(),
		"setting with nil": newKeyMaker("k").add("a").key(),
	}
	seen := make(map[poolKey]string)
	for name, key := range keys {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
	}
	if newKeyMaker("k").add("a", "bc").key() != keys["one value"] {
		t.Error("the same settings have different keys")
	}
}

func TestPooledValuesDoNotPrint(t *testing.T) {
	const planted = "planted-secret"
	settings := managerSettings{app: "hbdev", static: hubspot.Credentials{ClientID: "id", Secret: secret.New(planted)}}
	store := &pooledStore{key: newKeyMaker("store").add("token", planted).key(), name: "caddy"}
	manager := &pooledManager{key: settings.key(store), credentials: hubspot.StaticCredentials(settings.static)}
	var out bytes.Buffer
	for _, v := range []any{settings, store, manager, store.key, manager.key} {
		fmt.Fprintf(&out, "%v %+v %#v %s\n", v, v, v, v)
	}
	if strings.Contains(out.String(), planted) || strings.Contains(out.String(), fmt.Sprintf("%x", planted)) {
		t.Errorf("output holds the secret: %s", out.String())
	}
}

// counted is a pooled value that counts its ends.
type counted struct{ ends *int }

func (c *counted) Destruct() error {
	*c.ends++
	return nil
}

func TestAcquire(t *testing.T) {
	key := newKeyMaker("test").key()
	ends := 0
	construct := func() (*counted, error) { return &counted{&ends}, nil }
	first, releaseFirst, err := acquire(key, construct)
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond, err := acquire(key, construct)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("the second acquire made another value")
	}
	releaseFirst()
	releaseFirst()
	if ends != 0 {
		t.Error("releasing one of two uses twice ended the value")
	}
	releaseSecond()
	if ends != 1 {
		t.Errorf("the value ended %d times, want once", ends)
	}

	broken := errors.New("broken")
	if _, _, err := acquire(key, func() (*counted, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error: %v, want %v", err, broken)
	}
	if refs, ok := pool.References(key); ok {
		t.Errorf("a failed acquire left %d references", refs)
	}
}

func TestNewest(t *testing.T) {
	var n newest[string]
	if _, ok := n.get(); ok {
		t.Error("an empty newest has a value")
	}
	want := func(value string) {
		t.Helper()
		if got, _ := n.get(); got != value {
			t.Errorf("newest: %q, want %q", got, value)
		}
	}
	detachA := n.attach("a")
	detachB := n.attach("b")
	want("b")
	detachB()
	want("a") // b failed to load: a goes on
	detachC := n.attach("c")
	detachA()
	detachA()
	want("c") // c replaced a
	detachC()
	want("c") // requests of c may still run
}

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
	first, second := new(namedStorage), new(namedStorage)
	var all newest[certmagic.Storage]
	storage := &newestStorage{newest: &all}
	all.attach(first)
	if err := storage.Lock(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	all.attach(second)
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

func TestStorageIdentity(t *testing.T) {
	a := &certmagic.FileStorage{Path: "/a"}
	b := &certmagic.FileStorage{Path: "/b"}
	same := &certmagic.FileStorage{Path: "/a"}
	identity := func(s certmagic.Storage) string { return strings.Join(storageIdentity(s), "\n") }
	if identity(a) == identity(b) {
		t.Error("two folders have the same identity")
	}
	if identity(a) != identity(same) {
		t.Error("the same folder has two identities")
	}
}

func TestNewestHandler(t *testing.T) {
	var first, second bytes.Buffer
	var all newest[slog.Handler]
	logger := slog.New(newestHandler{logs: &all})
	logger.Info("lost") // no config yet
	all.attach(slog.NewTextHandler(&first, nil))
	with := logger.With("store", "vault").WithGroup("login").With("method", "approle")
	with.Info("one")
	all.attach(slog.NewTextHandler(&second, nil))
	with.Info("two", "ok", true)
	with.Debug("not enabled")
	if got := first.String(); !strings.Contains(got, "msg=one store=vault login.method=approle") || strings.Contains(got, "two") {
		t.Errorf("first log: %s", got)
	}
	if got := second.String(); !strings.Contains(got, "msg=two store=vault login.method=approle login.ok=true") || strings.Contains(got, "not enabled") {
		t.Errorf("second log: %s", got)
	}
}
