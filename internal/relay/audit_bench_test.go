package relay_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// inMemory answers requests without a network.
type inMemory struct{ body string }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{
			"Content-Type": {"application/json;charset=utf-8"}, "X-Hubspot-Correlation-Id": {"a43683b0-5717-4ceb-80b4-104d02915d8c"},
			"X-Hubspot-Ratelimit-Max": {"1000000"}, "X-Hubspot-Ratelimit-Remaining": {"999999"},
		},
		Body: io.NopCloser(strings.NewReader(m.body)), ContentLength: int64(len(m.body)),
	}, nil
}

// discard is a client that takes what it gets.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) Flush()                      {}

// BenchmarkAudit compares the whole way of a call with an audit log and
// without, in turns: ratio is the first divided by the second.
func BenchmarkAudit(b *testing.B) {
	answer := `{"results":[` + strings.Repeat(`{"id":"1","properties":{"email":"a@example.com"}},`, 20) + `{}],"paging":{}}`
	app := sidecartest.Unpaced()
	app.Quota = appconfig.Rate{Count: 1_000_000, Per: time.Second}
	h := start(b, sidecartest.Config{Audit: true, Apps: []appconfig.Resolved{app}}, func(c *relay.Config) { c.Transport = inMemory{answer} })
	h.ConnectAs("acme", testToken)
	audited := h.relay.Load()
	h.use(func(c *relay.Config) { c.Audit = nil })
	plain := h.relay.Load()
	const path = "/crm/objects/2026-09/contacts/12345?properties=email"
	template := httptest.NewRequestWithContext(b.Context(), "GET", path, nil)
	template.Header = http.Header{"Authorization": {"Bearer " + testCallerKey}, "X-Hubspot-User": {"acme"}, "Accept-Encoding": {"gzip"}}
	request := func(through *relay.Relay) func() {
		return func() {
			w := &discard{header: make(http.Header)}
			if err := through.NewCall(w, template.Clone(b.Context()), path).Serve(); err != nil || w.status != 200 {
				b.Fatalf("%d, %v", w.status, err)
			}
		}
	}
	var with, without []time.Duration
	for b.Loop() {
		// Each pays for the other's garbage as often as not.
		without = append(without, timed(request(plain)))
		with = append(with, timed(request(audited)), timed(request(audited)))
		without = append(without, timed(request(plain)))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(without).Nanoseconds()), "plain-ns")
	b.ReportMetric(float64(median(with))/float64(median(without)), "ratio")
	b.ReportMetric(testing.AllocsPerRun(200, request(audited))-testing.AllocsPerRun(200, request(plain)), "more-allocs")
	b.ReportMetric(float64(h.Audit.Lost()), "lost")
}

// median is what a busy machine disturbs least.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func timed(f func()) time.Duration {
	const turn = 20
	begun := time.Now()
	for range turn {
		f()
	}
	return time.Since(begun) / turn
}
