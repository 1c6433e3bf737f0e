package sealedstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	keyA = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // 0123456789abcdef twice
	keyB = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

var acme = connection.Key{App: "hbdev", User: "acme@example.com"}

func open(t *testing.T, storage sealedstore.Storage, key string) *sealedstore.Store {
	t.Helper()
	parsed, err := sealedstore.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sealedstore.New(storage, sealedstore.Static(parsed))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func record(key connection.Key) connection.Record {
	return connection.Record{
		Key: key, Status: connection.StatusActive, HubID: 62515, WriteID: "w1",
		AccessToken: secret.New("the-access-token"), RefreshToken: secret.New("the-refresh-token"),
	}
}

func save(t *testing.T, store *sealedstore.Store, r connection.Record, based uint64) {
	t.Helper()
	if _, err := store.Save(t.Context(), r, based); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	key, err := sealedstore.ParseKey(keyA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealedstore.New(nil, sealedstore.Static(key)); err == nil || !strings.Contains(err.Error(), "storage") {
		t.Errorf("New without storage = %v", err)
	}
	if _, err := sealedstore.New(newMemory(), nil); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("New without key = %v", err)
	}
	// Which key a function returns shows when it is called.
	store, err := sealedstore.New(newMemory(), sealedstore.Static(sealedstore.Key{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.ID(t.Context(), acme); !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "there is no encryption key") {
		t.Errorf("ID without key = %v", err)
	}
}

func TestStorageShowsNothing(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	save(t, store, record(acme), 0)
	id, err := store.ID(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"hubspot/connections/hbdev/" + id[:2] + "/" + id}
	if got := storage.records(); !slices.Equal(got, want) {
		t.Errorf("records lie at %q, want %q", got, want)
	}
	for name, value := range storage.files {
		for _, clear := range []string{"acme", "example", "token", "62515", "active", "0123456789abcdef"} {
			if strings.Contains(name, clear) || strings.Contains(string(value), clear) {
				t.Errorf("%s shows %q", name, clear)
			}
		}
	}
	first := storage.files[want[0]]
	save(t, store, record(acme), 1)
	if slices.Equal(first[:28], storage.files[want[0]][:28]) {
		t.Error("two writes have one nonce")
	}
}

// The identifiers are in names that outlive any version of the program.
func TestIDIsPinned(t *testing.T) {
	id, err := open(t, newMemory(), keyA).ID(t.Context(), acme)
	if want := "a2f4ca93a1ec4cb7c9e3e33c91cf1703"; err != nil || id != want {
		t.Errorf("ID = %q, %v; want %q", id, err, want)
	}
	other, err := open(t, newMemory(), keyB).ID(t.Context(), acme)
	if err != nil || other == id {
		t.Errorf("ID with another key = %q, %v", other, err)
	}
}

func TestWrongKey(t *testing.T) {
	storage := newMemory()
	save(t, open(t, storage, keyA), record(acme), 0)
	before := storage.names()
	wrong := open(t, storage, keyB)
	nobody := connection.Key{App: "hbdev", User: "nobody"}
	calls := map[string]func() error{
		"Load":              func() error { _, err := wrong.Load(t.Context(), acme); return err },
		"Load of an absent": func() error { _, err := wrong.Load(t.Context(), nobody); return err },
		"Save":              func() error { _, err := wrong.Save(t.Context(), record(acme), 0); return err },
		"Save over":         func() error { _, err := wrong.Save(t.Context(), record(acme), 1); return err },
		"List":              func() error { _, err := wrong.List(t.Context(), "hbdev", "", 10); return err },
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, connection.ErrCorrupt) || errors.Is(err, connection.ErrNotFound) {
			t.Errorf("%s: error = %v, want ErrCorrupt", name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "another key") || !strings.Contains(err.Error(), "encryption_key")) {
			t.Errorf("%s: error %q does not say what to do", name, err)
		}
	}
	if after := storage.names(); !slices.Equal(before, after) {
		t.Errorf("a store with the wrong key wrote: %q", after)
	}
	if _, err := open(t, storage, keyA).Load(t.Context(), acme); err != nil {
		t.Errorf("the right key: %v", err)
	}
}

func TestReadingDoesNotWrite(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	if _, err := store.Load(t.Context(), acme); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Load of an empty storage = %v", err)
	}
	if page, err := store.List(t.Context(), "hbdev", "", 10); err != nil || len(page.Records) != 0 {
		t.Errorf("List of an empty storage = %d records, %v", len(page.Records), err)
	}
	if names := storage.names(); len(names) != 0 {
		t.Errorf("reading wrote %q", names)
	}
}

func TestDamagedRecords(t *testing.T) {
	bystander := connection.Key{App: "hbdev", User: "bystander"}
	tests := map[string]func(box, other []byte) []byte{
		"empty":                func(_, _ []byte) []byte { return nil },
		"cut":                  func(box, _ []byte) []byte { return box[:len(box)-1] },
		"header only":          func(box, _ []byte) []byte { return box[:28] },
		"one bit":              func(box, _ []byte) []byte { box[len(box)/2] ^= 1; return box },
		"nonce":                func(box, _ []byte) []byte { box[5] ^= 1; return box },
		"later format":         func(box, _ []byte) []byte { box[3]++; return box },
		"other record's":       func(_, other []byte) []byte { return other },
		"not sealed":           func(_, _ []byte) []byte { return []byte(`{"version":1,"fields":{}}`) },
		"something at the end": func(box, _ []byte) []byte { return append(box, 0) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			storage := newMemory()
			store := open(t, storage, keyA)
			save(t, store, record(acme), 0)
			damaged := storage.records()[0]
			save(t, store, record(bystander), 0)
			other := slices.DeleteFunc(storage.records(), func(n string) bool { return n == damaged })[0]
			storage.files[damaged] = damage(slices.Clone(storage.files[damaged]), storage.files[other])
			left := slices.Clone(storage.files[damaged])

			if _, err := store.Load(t.Context(), acme); !errors.Is(err, connection.ErrCorrupt) || errors.Is(err, connection.ErrNotFound) {
				t.Errorf("Load = %v, want ErrCorrupt", err)
			}
			for _, based := range []uint64{0, 1} {
				_, err := store.Save(t.Context(), record(acme), based)
				if !errors.Is(err, connection.ErrConflict) || !errors.Is(err, connection.ErrCorrupt) {
					t.Errorf("Save on version %d = %v, want ErrConflict and ErrCorrupt", based, err)
				}
			}
			if !slices.Equal(storage.files[damaged], left) {
				t.Error("the damaged record was written over")
			}
			page, err := store.List(t.Context(), "hbdev", "", 10)
			if err != nil || len(page.Records) != 1 || page.Records[0].User != bystander.User {
				t.Errorf("List = %d records, %v; want the undamaged one", len(page.Records), err)
			}
		})
	}
}

func TestStorageFaults(t *testing.T) {
	down := errors.New("disk on fire")
	for _, operation := range []string{"load", "store", "list", "lock"} {
		t.Run(operation, func(t *testing.T) {
			storage := newMemory()
			store := open(t, storage, keyA)
			save(t, store, record(acme), 0)
			storage.before = func(op, _ string) error {
				if op == operation {
					return down
				}
				return nil
			}
			_, loading := store.Load(t.Context(), acme)
			_, saving := store.Save(t.Context(), record(acme), 1)
			_, listing := store.List(t.Context(), "hbdev", "", 10)
			for call, err := range map[string]error{"Load": loading, "Save": saving, "List": listing} {
				needs := map[string][]string{"Load": {"load"}, "Save": {"load", "store", "lock"}, "List": {"load", "list"}}[call]
				if !slices.Contains(needs, operation) {
					if err != nil {
						t.Errorf("%s = %v though it needs no %s", call, err, operation)
					}
					continue
				}
				if !errors.Is(err, connection.ErrUnavailable) || !errors.Is(err, down) {
					t.Errorf("%s = %v, want ErrUnavailable with its cause", call, err)
				}
			}
			storage.before = nil
			if v, err := store.Load(t.Context(), acme); err != nil || v.Version > 2 {
				t.Errorf("Load afterwards = version %d, %v", v.Version, err)
			}
			v, err := store.Load(t.Context(), acme)
			if err != nil {
				t.Fatal(err)
			}
			save(t, store, record(acme), v.Version)
		})
	}
}

func TestKeyIDIsReadOnce(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	save(t, store, record(acme), 0)
	storage.before = func(op, name string) error {
		if strings.HasSuffix(name, "key_id") {
			t.Errorf("%s of %s though the key is known to be right", op, name)
		}
		return nil
	}
	if _, err := store.Load(t.Context(), acme); err != nil {
		t.Error(err)
	}
	save(t, store, record(acme), 1)
}

// A first call that cannot read which key the storage belongs to must not
// take it for its own.
func TestKeyIDCannotBeRead(t *testing.T) {
	storage := newMemory()
	save(t, open(t, storage, keyA), record(acme), 0)
	storage.before = func(op, name string) error {
		if op == "load" && strings.HasSuffix(name, "key_id") {
			return errors.New("permission denied")
		}
		return nil
	}
	store := open(t, storage, keyB)
	_, loading := store.Load(t.Context(), acme)
	_, saving := store.Save(t.Context(), record(acme), 0)
	for call, err := range map[string]error{"Load": loading, "Save": saving} {
		if !errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("%s = %v, want ErrUnavailable", call, err)
		}
	}
}

func TestUnlockAfterContextEnded(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	ctx, cancel := context.WithCancel(t.Context())
	storage.before = func(op, name string) error {
		if op == "store" && strings.HasPrefix(name, "hubspot/connections/") {
			cancel()
		}
		return nil
	}
	if _, err := store.Save(ctx, record(acme), 0); err != nil {
		t.Errorf("Save whose context ended after the write began = %v", err)
	}
	storage.before = nil
	save(t, store, record(acme), 1) // hangs until its timeout if the lock is still held
}

func TestFailedUnlockDoesNotUndoASave(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	storage.before = func(op, name string) error {
		if op == "unlock" {
			return errors.New("lock file is gone")
		}
		return nil
	}
	save(t, store, record(acme), 0)
	if v, err := store.Load(t.Context(), acme); err != nil || v.Version != 1 {
		t.Errorf("Load = version %d, %v", v.Version, err)
	}
}

func TestWaitForTheLockIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		store := open(t, storage, keyA)
		save(t, store, record(acme), 0)
		id, _ := store.ID(t.Context(), acme)
		lock := "hubspot_connection_" + id
		if err := storage.Lock(t.Context(), lock); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := store.Save(context.Background(), record(acme), 1)
		if !errors.Is(err, connection.ErrUnavailable) || time.Since(start) > 20*time.Second {
			t.Errorf("Save under a lock that stays = %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = store.Save(ctx, record(acme), 1)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Save with a deadline = %v after %v", err, time.Since(start))
		}
		// Other records are not held up, nor are those who have lost anyway.
		save(t, store, record(connection.Key{App: "hbdev", User: "other"}), 0)
		if _, err := store.Save(t.Context(), record(acme), 0); !errors.Is(err, connection.ErrConflict) {
			t.Errorf("Save that has lost = %v", err)
		}
		if err := storage.Unlock(t.Context(), lock); err != nil {
			t.Fatal(err)
		}
		save(t, store, record(acme), 1)
	})
}

// Between the look at the version and the lock another process may write.
func TestVersionIsReadUnderTheLock(t *testing.T) {
	storage := newMemory()
	one, two := open(t, storage, keyA), open(t, storage, keyA)
	save(t, one, record(acme), 0)
	raced := false
	storage.before = func(op, name string) error {
		if op == "lock" && !raced {
			raced = true
			save(t, two, record(acme), 1)
		}
		return nil
	}
	if _, err := one.Save(t.Context(), record(acme), 1); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("Save = %v, want ErrConflict", err)
	}
	if v, err := one.Load(t.Context(), acme); err != nil || v.Version != 2 {
		t.Errorf("Load = version %d, %v; want 2", v.Version, err)
	}
}

func TestOddKeys(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	for _, app := range []string{"", "HbDev", "../x", "a/b", ".", "..", ".a", "a b", "ä", strings.Repeat("a", 65)} {
		key := connection.Key{App: app, User: "acme"}
		_, loading := store.Load(t.Context(), key)
		_, saving := store.Save(t.Context(), record(key), 0)
		_, listing := store.List(t.Context(), app, "", 10)
		for call, err := range map[string]error{"Load": loading, "Save": saving, "List": listing} {
			if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "app name") {
				t.Errorf("%s of app %q = %v, want an error that names it", call, app, err)
			}
		}
	}
	_, err := store.Save(t.Context(), record(connection.Key{App: "hbdev", User: "a\xff"}), 0)
	if err == nil || !strings.Contains(err.Error(), `"user"`) || strings.Contains(err.Error(), "a\xff") {
		t.Errorf("Save of a user that is not UTF-8 = %v, want an error that names the field", err)
	}
	if names := storage.records(); len(names) != 0 {
		t.Errorf("stored %q", names)
	}
}

func TestListRefuses(t *testing.T) {
	store := open(t, newMemory(), keyA)
	for _, cursor := range []string{"x", "../../../etc/passwd", strings.Repeat("g", 32), strings.Repeat("A", 32)} {
		if _, err := store.List(t.Context(), "hbdev", cursor, 10); err == nil || !strings.Contains(err.Error(), "cursor") {
			t.Errorf("List from cursor %q = %v", cursor, err)
		}
	}
	for _, limit := range []int{0, -1} {
		if _, err := store.List(t.Context(), "hbdev", "", limit); err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("List of %d = %v", limit, err)
		}
	}
}

func TestListLeavesOutWhatIsNotARecord(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	for i := range 20 {
		save(t, store, record(connection.Key{App: "hbdev", User: fmt.Sprint(i)}), 0)
	}
	real := storage.records()[0]
	dir, id := real[:strings.LastIndex(real, "/")], real[strings.LastIndex(real, "/")+1:]
	for _, name := range []string{
		dir + "/.tmp-1", dir + "/" + id + ".bak", dir + "/" + strings.ToUpper(id), dir + "x/" + id, dir + "/sub/" + id,
		"hubspot/connections/hbdev/" + id, "hubspot/connections/hbdev/ff/00" + id[2:],
	} {
		storage.files[name] = storage.files[real]
	}
	page, err := store.List(t.Context(), "hbdev", "", 100)
	if err != nil || len(page.Records) != 20 || page.Next != "" {
		t.Errorf("List = %d records, next %q, %v; want 20", len(page.Records), page.Next, err)
	}
}

// TestSealedDocument looks at what a document shows, and moves it.
func TestSealedDocument(t *testing.T) {
	storage := newMemory()
	store := open(t, storage, keyA)
	if _, err := store.SaveDocument(t.Context(), "freezes", "planted-text", 0); err != nil {
		t.Fatal(err)
	}
	const name = "hubspot/control/freezes"
	box, ok := storage.files[name]
	if !ok || strings.Contains(string(box), "planted") {
		t.Fatalf("the document is not sealed, or not at its place: %q", storage.names())
	}
	storage.files["hubspot/control/others"] = box
	if _, _, err := store.LoadDocument(t.Context(), "others"); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("LoadDocument of one that was moved = %v; want ErrCorrupt", err)
	}
	if _, err := store.SaveDocument(t.Context(), "others", "text", 0); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("SaveDocument over one that cannot be read = %v; want ErrConflict", err)
	}
	wrong := open(t, storage, keyB)
	if _, _, err := wrong.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("LoadDocument with another key = %v; want ErrCorrupt", err)
	}
}
