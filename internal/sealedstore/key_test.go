package sealedstore_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
)

// id tells keys apart without looking into them.
func id(t *testing.T, key sealedstore.Key) string {
	t.Helper()
	store, err := sealedstore.New(newMemory(), sealedstore.Static(key))
	if err != nil {
		t.Fatal(err)
	}
	id, err := store.ID(t.Context(), connection.Key{App: "a", User: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseKey(t *testing.T) {
	raw := []byte("\xfb\xff\xfe\xf0123456789abcdefghijklmnopqr")
	raw = append(raw, make([]byte, 32-len(raw))...)
	standard, err := sealedstore.ParseKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"standard, no padding": base64.RawStdEncoding.EncodeToString(raw),
		"URL":                  base64.URLEncoding.EncodeToString(raw),
		"URL, no padding":      base64.RawURLEncoding.EncodeToString(raw),
		"space around":         " " + base64.StdEncoding.EncodeToString(raw) + "\r\n",
	} {
		if key, err := sealedstore.ParseKey(text); err != nil || id(t, key) != id(t, standard) {
			t.Errorf("%s: another key, or %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty":         "",
		"padding only":  "==",
		"31 bytes":      base64.StdEncoding.EncodeToString(raw[:31]),
		"33 bytes":      base64.StdEncoding.EncodeToString(append(slices.Clone(raw), 1)),
		"hex":           strings.Repeat("0a", 32),
		"passphrase":    "correct horse battery staple, twice",
		"line break":    keyA[:20] + "\n" + keyA[20:],
		"padding first": "=" + keyA,
	} {
		_, err := sealedstore.ParseKey(text)
		if err == nil || !strings.Contains(err.Error(), "32 bytes in base64") {
			t.Errorf("%s: error = %v, want one that says what is right", name, err)
		}
		if err != nil && len(text) > 2 && strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %q repeats the key", name, err)
		}
	}
}

func TestKeyCannotPrintItself(t *testing.T) {
	key, err := sealedstore.ParseKey(keyA)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	store := open(t, newMemory(), keyA)
	if _, err := store.ID(t.Context(), acme); err != nil { // the store has its key from here on
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", key)
	type holder struct{ key sealedstore.Key }
	for _, text := range []string{
		key.String(), key.GoString(), fmt.Sprintf("%v %+v %#v %s %q %x %d", key, key, key, key, key, key, key),
		fmt.Sprintf("%+v %#v %+v", holder{key}, &holder{key}, store), string(encoded), logged.String(),
	} {
		for _, bad := range []string{"0123456789abcdef", keyA[:40], "3031323334", "48 49 50 51"} {
			if strings.Contains(text, bad) {
				t.Errorf("key prints itself: %q", text)
			}
		}
	}
	if key.IsZero() || !(sealedstore.Key{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hubspot", "deep", "store.key")
	made, err := sealedstore.LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sealedstore.LoadOrCreateKey(path)
	if err != nil || id(t, again) != id(t, made) {
		t.Errorf("second call: another key, or %v", err)
	}
	other, err := sealedstore.LoadOrCreateKey(filepath.Join(t.TempDir(), "store.key"))
	if err != nil || id(t, other) == id(t, made) {
		t.Errorf("another file: the same key, or %v", err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v; want the key alone", entries, err)
	}
}

func TestLoadOrCreateKeyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "store.key")
	keys := make([]sealedstore.Key, 16)
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range keys {
		wg.Go(func() {
			<-start
			keys[i], errs[i] = sealedstore.LoadOrCreateKey(path)
		})
	}
	close(start)
	wg.Wait()
	for i := range keys {
		if errs[i] != nil {
			t.Fatalf("caller %d: %v", i, errs[i])
		}
		if id(t, keys[i]) != id(t, keys[0]) {
			t.Errorf("caller %d has another key", i)
		}
	}
}

func TestLoadOrCreateKeyRefuses(t *testing.T) {
	tests := map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"group may read":   {keyA, 0o640, "chmod 600"},
		"others may read":  {keyA, 0o604, "chmod 600"},
		"others may write": {keyA, 0o602, "chmod 600"},
		"empty":            {"", 0o600, "32 bytes"},
		"too short":        {"c2hvcnQ=", 0o600, "32 bytes"},
		"too long":         {keyA[:43] + "AAAA", 0o600, "32 bytes"},
		"endless":          {strings.Repeat("A", 1<<20), 0o600, "32 bytes"},
		"not base64":       {"not base64 at all, but as long as a key is", 0o600, "base64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.want == "chmod 600" {
				t.Skip("modes do not say who may read on Windows")
			}
			path := filepath.Join(t.TempDir(), "store.key")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := sealedstore.LoadOrCreateKey(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error = %v, want one with %q and the path", err, tt.want)
			}
			if err != nil && tt.content != "" && strings.Contains(err.Error(), tt.content) {
				t.Errorf("error %q repeats the file", err)
			}
			after, readErr := os.ReadFile(path)
			if readErr != nil || string(after) != tt.content {
				t.Error("the refused file was changed")
			}
		})
	}
}

func TestLoadOrCreateKeyWhereNothingCanBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sealedstore.LoadOrCreateKey(filepath.Join(file, "store.key")); err == nil {
		t.Error("a key is made below a file")
	}
}
