package stores

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

func TestStorageIdentity(t *testing.T) {
	t.Parallel()
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

// A key that nobody asked for is told of once, and never shown.
func TestNewKeyIsToldOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		chosen bool
		want   int
	}{{"default", false, 1}, {"key_file", true, 0}} {
		var logs bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&logs, nil))
		file := filepath.Join(t.TempDir(), "hubspot", "store.key")
		for range 2 {
			if _, err := keyOfFile(file, tc.chosen, logger); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(logs.String(), "made a new key for the connection store: without this file all connections are lost"); n != tc.want {
			t.Errorf("%s: %d warnings, want %d: %s", tc.name, n, tc.want, logs.String())
		}
		if tc.want > 0 && !strings.Contains(logs.String(), file) {
			t.Errorf("the warning does not name the file: %s", logs.String())
		}
	}
}
