package relay

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// BenchmarkAudit compares the whole way of a request with an audit log and
// without: plain is without. ratio is what the log adds.
func BenchmarkAudit(b *testing.B) {
	path := "crm/objects/2026-09/contacts/12345?properties=email"
	upstream := inMemory{`{"results":[` + strings.Repeat(`{"id":"1","properties":{"email":"a@example.com"}},`, 20) + `{}],"paging":{}}`}
	server := startBench(b, "http://127.0.0.1:1")
	withoutNetwork(b, server.Routes, upstream)
	app, err := caddy.ActiveContext().App("hubspot")
	if err != nil {
		b.Fatal(err)
	}
	request := benchRequest(b, server, testCallerKey, "GET", "/"+path, nil)
	setting := &App{metrics: app.(*App).metrics, Audit: &Audit{File: filepath.Join(b.TempDir(), "audit.jsonl")}}
	if err := setting.provisionAudit(caddy.NewReplacer(), caddy.ActiveContext().Slogger()); err != nil {
		b.Fatal(err)
	}
	defer setting.releases[0]()
	if err := setting.openAudit(); err != nil {
		b.Fatal(err)
	}
	// One server, so that both go the same way; nobody else asks it.
	compare(b, request, func() {
		app.(*App).audit = setting.audit
		request()
		app.(*App).audit = nil
	})
	b.ReportMetric(float64(setting.audit.Lost()), "lost")
}
