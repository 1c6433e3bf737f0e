package sidecar_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

// Whatever is recorded while Caddy reloads and stops is in the file.
func TestAuditOverReloads(t *testing.T) {
	upstream := caddytest.Upstream(t)
	h := caddytest.New(t)
	text := func(setting string) string {
		return caddytest.Unpaced(caddytest.WithAPI(caddytest.Caddyfile(setting, caddytest.AuthAndProxy), upstream))
	}
	if err := h.Load(text(caddytest.AuditSetting)); err != nil {
		t.Fatal(err)
	}
	h.ConnectAs("acme", caddytest.AccessToken)
	log := h.Sidecar().Audit()
	const callers, each = 4, 25
	calls := func() {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					h.Get("/crm/v3/owners", "acme")
				}
			})
		}
		all.Wait()
	}
	calls()
	// Another limit: the file stays open, and is full by now.
	if err := h.Load(text(caddytest.AuditSetting + " {\n roll_size 64KiB\n }")); err != nil {
		t.Fatal(err)
	}
	if h.Sidecar().Audit() != log {
		t.Error("a reload made another log of the same file")
	}
	calls()
	calls()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitForAuditStop(1)
	if lines := h.AuditLines(); len(lines) != 3*callers*each {
		t.Errorf("%d lines, want %d", len(lines), 3*callers*each)
	}
	files, err := filepath.Glob(filepath.Join(h.Dir, "audit-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, want := range []string{`"msg":"audit log head"`, `"msg":"audit log rolled"`, log.Head().Hash} {
		h.WaitFor(want+" in the log", func() bool { return strings.Contains(h.Logs.String(), want) })
	}

	// Off, and on again while the last one may still be closing.
	for _, setting := range []string{caddytest.AuditSetting, "", caddytest.AuditSetting} {
		if err := h.Load(text(setting)); err != nil {
			t.Fatal(err)
		}
		h.Get("/crm/v3/owners", "acme")
	}
	h.WaitForAuditLines(3*callers*each + 2)
}

// The file is opened when a config starts, and not when it is checked.
func TestAuditFileIsOpenedAtStart(t *testing.T) {
	h := caddytest.New(t)
	text := caddytest.Caddyfile(caddytest.AuditSetting, caddytest.AuthAndProxy)
	config, err := h.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil {
		t.Fatal(err)
	}
	if entries, _ := filepath.Glob(filepath.Join(h.Dir, "audit*")); len(entries) > 0 {
		t.Errorf("validating made %v", entries)
	}
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(h.Dir, "audit.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAuditFileThatCannotBeOpened(t *testing.T) {
	h := caddytest.New(t)
	h.WriteFile("notes.txt", "something else\n")
	for setting, want := range map[string]string{
		"audit DIR/none/audit.jsonl": "its folder is not there; make it",
		"audit DIR/notes.txt":        "it does not end with lines of an audit log; move it away, or name another file",
		"audit {env.UNSET_VAR}":      "audit: file:",
	} {
		if err := h.Load(caddytest.Caddyfile(setting, caddytest.AuthAndProxy)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "audit: ") {
			t.Errorf("%s: %v, want %s", setting, err, want)
		}
	}
	// The config before goes on.
	if err := h.Load(caddytest.Caddyfile(caddytest.AuditSetting, caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(caddytest.Caddyfile("audit DIR/none/audit.jsonl", caddytest.AuthAndProxy)); err == nil {
		t.Error("a file in no folder was accepted")
	}
	h.Get("/crm/v3/owners", "acme")
	h.WaitForAuditLines(1)
}
