package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
)

// testLog is a log in a file of the test.
type testLog struct {
	*Log
	t    *testing.T
	path string
	logs *logtest.Buffer
}

// newTestLog makes a log that is not open yet.
func newTestLog(t *testing.T, path string, change ...func(o *Options)) *testLog {
	t.Helper()
	logs := new(logtest.Buffer)
	o := Options{File: path, Logger: logs.Logger()}
	for _, f := range change {
		f(&o)
	}
	return &testLog{Log: NewLog(o), t: t, path: path, logs: logs}
}

// openTestLog makes a log and opens it.
func openTestLog(t *testing.T, path string, change ...func(o *Options)) *testLog {
	t.Helper()
	l := newTestLog(t, path, change...)
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *testLog) close() {
	l.t.Helper()
	if err := l.Close(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func testPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "audit.jsonl")
}

// call is an entry about a call.
func call(caller string) Entry {
	return Entry{
		Kind: KindCall, App: "hbdev", Caller: caller, UserTag: "0123456789ab", Portal: 4711, Method: "GET",
		Path: "/crm/objects/2026-09/contacts/{id}", Status: 200, CorrelationID: "a43683b0-5717-4ceb-80b4-104d02915d8c", Tries: 1,
	}
}

// verified is the report of a log that has to be as it was written, with the
// lines about calls.
func verified(t *testing.T, path string, o VerifyOptions) (Report, []Line) {
	t.Helper()
	report, lines := read(t, path, o)
	if report.Break != nil {
		t.Errorf("the log is broken: %v\n%s", report.Break, content(t, path))
	}
	return report, lines
}

func read(t *testing.T, path string, o VerifyOptions) (Report, []Line) {
	t.Helper()
	files, err := Rolled(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []Line
	o.Visit = func(line Line, _ []byte) {
		if line.aboutCall() {
			lines = append(lines, line)
		}
	}
	report, err := Verify(append(files, path), o)
	if err != nil {
		t.Fatal(err)
	}
	return report, lines
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sample is the content of a log with n calls.
func sample(n int) (string, Head) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var head Head
	var text []byte
	text, head = head.appendLine(text, Entry{Time: at, Kind: KindFile})
	text, head = head.appendLine(text, Entry{Time: at, Kind: KindStart})
	for i := range n {
		e := call("caller-" + string(rune('a'+i)))
		e.Time = at.Add(time.Duration(i) * time.Minute)
		text, head = head.appendLine(text, e)
	}
	return string(text), head
}

func linesOf(text string) []string { return strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n") }
