package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, missing := write("one", "1"), write("two", "2"), filepath.Join(dir, "missing")
	f := newFiles(false)
	if got, err := f.expand("a{file." + one + "}b"); got != "a1b" || err != nil {
		t.Errorf("expand: %q, %v", got, err)
	}
	raw, _ := json.Marshal(map[string]any{"a": []string{"{env.X}", "{file." + two + "}"}, "b": "{file." + missing + "}"})
	if err := f.noteInJSON(raw); err != nil {
		t.Errorf("a file that is missing at first is for whoever reads it: %v", err)
	}
	if got := f.changed(); got != nil {
		t.Errorf("changed: %v", got)
	}
	write("two", "3")
	write("missing", "")
	if got, want := f.changed(), []string{missing, two}; !reflect.DeepEqual(got, want) {
		t.Errorf("changed: %v, want %v", got, want)
	}
	write("two", "2")
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	if got := f.changed(); got != nil {
		t.Errorf("changed, with all as before: %v", got)
	}
	if err := newFiles(true).noteInJSON(raw); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that has gone: %v", err)
	}
	// What is no regular file may be read once, and block the second time.
	if err := f.note(dir); err != nil || f.once != dir {
		t.Errorf("a directory: %v, once %q", err, f.once)
	}
	if err := newFiles(true).note(dir); !errors.Is(err, errIrregular) {
		t.Errorf("a directory in the place of a file: %v", err)
	}
}

// TestFollowLooks waits for a look by the clock. With these endpoints it finds
// a problem.
func TestFollowLooks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	synctest.Test(t, func(t *testing.T) {
		read := newFiles(false)
		if err := read.note(path); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := &Sidecar{
			live: new(live), ctx: caddy.Context{Context: ctx}, logger: slog.New(slog.DiscardHandler),
			EndpointSettings: Endpoints{API: "ftp://x"},
		}
		s.live.current.Store(&Generation{files: read})
		ended := make(chan struct{})
		go func() { s.follow(ctx); close(ended) }()
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.settingsProblem(); err != nil {
			t.Errorf("looked before it was time: %v", err)
		}
		time.Sleep(lookEvery) // by the clock of the test
		synctest.Wait()
		if s.settingsProblem() == nil {
			t.Error("nobody has looked")
		}
		cancel()
		<-ended
	})
}
