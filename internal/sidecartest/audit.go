package sidecartest

import (
	"fmt"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// AuditLines returns the lines about calls of an audit log, and fails the test
// if the log is not as it was written.
func AuditLines(t testing.TB, file string) []audit.Line {
	t.Helper()
	files, err := audit.Rolled(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []audit.Line
	all := audit.Filter{}
	report, err := audit.Verify(append(files, file), audit.VerifyOptions{From: 1, Visit: func(line audit.Line, _ []byte) {
		if all.Match(line) {
			lines = append(lines, line)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	// The last line may be about to be written.
	if report.Break != nil && report.Break.Problem != audit.Unfinished {
		t.Fatalf("the audit log is broken: %v", report.Break)
	}
	return lines
}

// WaitForAuditLines returns n lines about calls of an audit log, and fails the
// test if there are more.
func (w *Web) WaitForAuditLines(file string, n int) []audit.Line {
	w.T.Helper()
	w.WaitFor(fmt.Sprintf("%d lines", n), func() bool { return len(AuditLines(w.T, file)) >= n })
	lines := AuditLines(w.T, file)
	if len(lines) != n {
		w.T.Fatalf("%d lines, want %d: %+v", len(lines), n, lines)
	}
	return lines
}
