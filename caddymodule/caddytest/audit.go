package caddytest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// AuditSetting is the setting audit with a file of the test's.
const AuditSetting = "audit DIR/audit.jsonl"

// AuditLines returns the lines about calls of the log that [AuditSetting] is
// for; see [sidecartest.AuditLines].
func (h *Harness) AuditLines() []audit.Line {
	h.T.Helper()
	return sidecartest.AuditLines(h.T, h.auditFile())
}

// WaitForAuditLines returns n lines about calls, and fails if there are more.
func (h *Harness) WaitForAuditLines(n int) []audit.Line {
	h.T.Helper()
	return h.Web.WaitForAuditLines(h.auditFile(), n)
}

func (h *Harness) auditFile() string { return filepath.Join(h.Dir, "audit.jsonl") }

// WaitForAuditStop waits until the log was closed in the background.
func (h *Harness) WaitForAuditStop(times int) {
	h.T.Helper()
	h.WaitFor("the end of the audit log", func() bool {
		content, err := os.ReadFile(h.auditFile())
		return err == nil && strings.Count(string(content), `"kind":"stop"`) == times
	})
}
