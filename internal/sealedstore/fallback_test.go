package sealedstore_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func randomKey(t *testing.T) sealedstore.Key {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	key, err := sealedstore.ParseKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newFallback(t *testing.T, dir string, key sealedstore.Key, maxAge time.Duration) *sealedstore.Fallback {
	t.Helper()
	f, err := sealedstore.NewFallback(dir, key, maxAge)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var fallbackKey = connection.Key{App: "hbdev", User: "zoë@example.com"}

func fallbackRecord() connection.Versioned {
	return connection.Versioned{Version: 7, Record: connection.Record{
		Key: fallbackKey, Status: connection.StatusActive,
		AccessToken: secret.New("planted-access"), RefreshToken: secret.New("planted-refresh"),
	}}
}

func TestFallback(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "cache"), randomKey(t)
	f := newFallback(t, dir, key, 0)
	if _, _, err := f.Recall(fallbackKey); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Recall() of nothing = %v; want ErrNotFound", err)
	}
	if err := f.Keep(fallbackRecord()); err != nil {
		t.Fatal(err)
	}
	again := newFallback(t, dir, key, 0)
	v, kept, err := again.Recall(fallbackKey)
	if err != nil || v.Version != 7 || v.RefreshToken.Reveal() != "planted-refresh" || time.Since(kept) > time.Minute {
		t.Errorf("Recall() = version %d, kept %s, %v", v.Version, kept, err)
	}
	if _, _, err := newFallback(t, dir, randomKey(t), 0).Recall(fallbackKey); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Recall() with another key = %v; want ErrNotFound, since ids differ", err)
	}
	if err := f.Forget(fallbackKey); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(fallbackKey); err != nil {
		t.Errorf("Forget() again = %v", err)
	}
	if _, _, err := f.Recall(fallbackKey); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Recall() after Forget() = %v; want ErrNotFound", err)
	}
}

func TestFallbackCopiesAge(t *testing.T) {
	dir, key := t.TempDir(), randomKey(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFallback(t, dir, key, time.Hour)
		if err := f.Keep(fallbackRecord()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, _, err := f.Recall(fallbackKey); err != nil {
			t.Errorf("Recall() at the maximum age = %v", err)
		}
		time.Sleep(time.Second)
		if _, _, err := f.Recall(fallbackKey); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("Recall() beyond the maximum age = %v; want ErrNotFound", err)
		}
	})
}

func TestFallbackFilesShowNothing(t *testing.T) {
	dir, key := t.TempDir(), randomKey(t)
	f := newFallback(t, dir, key, 0)
	if err := f.Keep(fallbackRecord()); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v; want 0600", entry.Name(), info.Mode())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, leak := range []string{"planted", "zoë@", "example.com"} {
			if bytes.Contains(data, []byte(leak)) || bytes.Contains([]byte(path), []byte(leak)) {
				t.Errorf("%q can be read in %s", leak, path)
			}
		}
		// Making a copy look younger must not work.
		data[7]++
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		if _, _, err := f.Recall(fallbackKey); !errors.Is(err, connection.ErrCorrupt) {
			t.Errorf("Recall() of a copy with another time = %v; want ErrCorrupt", err)
		}
		return os.WriteFile(path, data[:4], 0o600)
	})
	if err != nil || files != 1 {
		t.Fatalf("%d files, %v; want 1", files, err)
	}
	if _, _, err := f.Recall(fallbackKey); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("Recall() of a stump = %v; want ErrCorrupt", err)
	}
}

func TestNewFallbackRefuses(t *testing.T) {
	for name, make := range map[string]func() error{
		"no folder":    func() error { _, err := sealedstore.NewFallback("", randomKey(t), 0); return err },
		"no key":       func() error { _, err := sealedstore.NewFallback("x", sealedstore.Key{}, 0); return err },
		"negative age": func() error { _, err := sealedstore.NewFallback("x", randomKey(t), -1); return err },
	} {
		if make() == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

// TestFallbackDocuments keeps a document beside an app of nearly its folder's
// name, and finds it again however old it is.
func TestFallbackDocuments(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "cache"), randomKey(t)
	f := newFallback(t, dir, key, time.Nanosecond)
	if _, _, err := f.RecallDocument("freezes"); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("RecallDocument() of nothing = %v; want ErrNotFound", err)
	}
	if err := f.ForgetDocument("freezes"); err != nil {
		t.Errorf("ForgetDocument() of nothing = %v", err)
	}
	if err := f.KeepDocument("freezes", "planted-text", 3); err != nil {
		t.Fatal(err)
	}
	text, version, err := newFallback(t, dir, key, time.Nanosecond).RecallDocument("freezes")
	if err != nil || text != "planted-text" || version != 3 {
		t.Errorf("RecallDocument() = %q, %d, %v; want what was kept", text, version, err)
	}
	path := filepath.Join(dir, "_control", "freezes")
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, []byte("planted")) {
		t.Errorf("the copy is not sealed, or not at its place: %v", err)
	}
	if _, _, err := newFallback(t, dir, randomKey(t), 0).RecallDocument("freezes"); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("RecallDocument() with another key = %v; want ErrCorrupt", err)
	}
	if err := f.KeepDocument("../x", "text", 1); err == nil {
		t.Error("a name with dots was taken")
	}
	if err := f.ForgetDocument("freezes"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the forgotten copy: %v; want none", err)
	}
}
