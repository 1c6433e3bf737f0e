package sidecar_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

// TestPipeIsReadOnce has a secret come by a pipe, which another reading would
// wait for without end.
func TestPipeIsReadOnce(t *testing.T) {
	h := caddytest.New(t)
	pipe := filepath.Join(h.Dir, "mount", "key")
	if err := os.MkdirAll(filepath.Dir(pipe), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(pipe, []byte(firstKey), 0o600) }()
	if err := h.Load(withKey); err != nil {
		t.Fatal(err)
	}
	before := hub(h)
	h.Sidecar().Look()
	if hub(h) != before {
		t.Error("the settings were read again")
	}
	lines := h.LogLines("the files that settings are read from are not followed, because one of them can be read only once")
	if len(lines) != 1 || lines[0]["file"] != pipe {
		t.Errorf("log lines: %v", lines)
	}
}
