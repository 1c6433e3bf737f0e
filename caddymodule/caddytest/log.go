package caddytest

import (
	"encoding/json"
	"io"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
)

// Log is the log of a test, as a writer of Caddy's. It is safe for concurrent
// use.
type Log struct{ logtest.Buffer }

// Close does nothing: a reload closes the log of the old config.
func (*Log) Close() error { return nil }

// LogLines returns the log lines with a message.
func (h *Harness) LogLines(message string) []map[string]any {
	h.T.Helper()
	var lines []map[string]any
	for line := range strings.Lines(h.Logs.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			h.T.Fatalf("log line %q: %v", line, err)
		}
		if fields["msg"] == message {
			lines = append(lines, fields)
		}
	}
	return lines
}

// captured has the log of each running test by the test's name.
var captured sync.Map

func init() {
	caddy.RegisterModule(logWriter{})
}

// logWriter is a log writer module that fills the log of a test.
type logWriter struct {
	Test string `json:"test"`
}

// CaddyModule returns the Caddy module information.
func (logWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.writers.hubspot_test",
		New: func() caddy.Module { return new(logWriter) },
	}
}

// String names the writer.
func (l *logWriter) String() string { return "hubspot_test/" + l.Test }

// WriterKey tells the writer from others.
func (l *logWriter) WriterKey() string { return "hubspot_test:" + l.Test }

// OpenWriter returns the log of the test, or one that nobody reads once it has
// ended.
func (l *logWriter) OpenWriter() (io.WriteCloser, error) {
	log, ok := captured.Load(l.Test)
	if !ok {
		return new(Log), nil
	}
	return log.(*Log), nil
}
