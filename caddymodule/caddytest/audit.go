package caddytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// AuditSetting is the setting audit with a file of the test's.
const AuditSetting = "audit DIR/audit.jsonl"

// AuditLines returns the lines about calls of the log that [AuditSetting] is
// for, and fails the test if the log is not as it was written.
func (h *Harness) AuditLines() []audit.Line {
	h.T.Helper()
	file := filepath.Join(h.Dir, "audit.jsonl")
	files, err := audit.Rolled(file)
	if err != nil {
		h.T.Fatal(err)
	}
	var lines []audit.Line
	all := audit.Filter{}
	report, err := audit.Verify(append(files, file), audit.VerifyOptions{From: 1, Visit: func(line audit.Line, _ []byte) {
		if all.Match(line) {
			lines = append(lines, line)
		}
	}})
	if err != nil {
		h.T.Fatal(err)
	}
	// The last line may be about to be written.
	if report.Break != nil && report.Break.Problem != audit.Unfinished {
		h.T.Fatalf("the audit log is broken: %v", report.Break)
	}
	return lines
}

// WaitForAuditLines returns n lines about calls, and fails if there are more.
func (h *Harness) WaitForAuditLines(n int) []audit.Line {
	h.T.Helper()
	h.WaitFor(fmt.Sprintf("%d lines", n), func() bool { return len(h.AuditLines()) >= n })
	lines := h.AuditLines()
	if len(lines) != n {
		h.T.Fatalf("%d lines, want %d: %+v", len(lines), n, lines)
	}
	return lines
}

// WaitForAuditStop waits until the log was closed in the background.
func (h *Harness) WaitForAuditStop(times int) {
	h.T.Helper()
	h.WaitFor("the end of the audit log", func() bool {
		content, err := os.ReadFile(filepath.Join(h.Dir, "audit.jsonl"))
		return err == nil && strings.Count(string(content), `"kind":"stop"`) == times
	})
}
