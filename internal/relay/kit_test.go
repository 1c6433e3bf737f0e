package relay_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// What tests of the relay connect their users with.
const (
	testToken        = sidecartest.AccessToken
	testRefreshToken = sidecartest.RefreshToken
	testHubID        = sidecartest.HubID
	testCallerKey    = sidecartest.CallerKey
	testClientSecret = sidecartest.ClientSecret
	testBase         = sidecartest.Base
)

// statusClientGone is what stands in an access log for a client that has hung
// up.
const statusClientGone = 499

type (
	answer   = sidecartest.Answer
	ownError = sidecartest.OwnError
)

// harness is a relay for the app hbdev, behind a server of package net/http.
type harness struct {
	*sidecartest.Kit
	t      testing.TB
	config relay.Config
	relay  atomic.Pointer[relay.Relay]
	// gone counts the clients that have hung up before there was an answer,
	// and foreign the calls whose error was left to somebody else.
	gone, foreign atomic.Int64
	// maxBody is the largest body of a request; 0 is no limit.
	maxBody atomic.Int64
	// summaries are what access logs would say, in the order of the ends.
	summaries chan relay.Summary
}

// start starts a relay in front of what the kit is made of.
func start(t testing.TB, c sidecartest.Config, change ...func(*relay.Config)) *harness {
	t.Helper()
	h := &harness{Kit: sidecartest.New(t, c), t: t, summaries: make(chan relay.Summary, 10_000)}
	h.config = relay.Config{
		App: h.App("hbdev"), Desk: h.Desk, Metrics: h.Metrics, Logger: h.Logger, Audit: h.Audit,
		User: userid.Source{Header: "X-Hubspot-User"}, Transport: newTransport(t),
	}
	h.use(change...)
	h.Serve(h)
	return h
}

// newTransport is the transport of Caddy's with the settings of hubspot_proxy.
func newTransport(t testing.TB) *http.Transport {
	t.Helper()
	transport := &http.Transport{
		ResponseHeaderTimeout: 100 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   32,
		DisableCompression:    true,
	}
	if _, err := http2.ConfigureTransports(transport); err != nil { //nolint:staticcheck // what Caddy does
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// use has requests from now on taken by another relay.
func (h *harness) use(change ...func(*relay.Config)) {
	h.t.Helper()
	c := h.config
	for _, apply := range change {
		apply(&c)
	}
	r, err := relay.New(c)
	if err != nil {
		h.t.Fatal(err)
	}
	h.config = c
	h.relay.Store(r)
}

// forgetQuota has the app begin anew with its quota.
func (h *harness) forgetQuota() {
	h.t.Helper()
	h.use(func(c *relay.Config) {
		old := c.App
		c.App = &hubapp.App{
			Name: old.Name, Settings: old.Settings, Endpoints: old.Endpoints, Client: old.Client, Manager: old.Manager,
			Limiter: quota.NewLimiter(quota.Config{Burst: quota.Rate(old.Settings.Quota), Search: quota.Rate(old.Settings.SearchQuota)}),
		}
	})
}

// ServeHTTP answers a request as a handler of Caddy's does.
func (h *harness) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(h.relay.Load(), w, r) }

func (h *harness) serve(through *relay.Relay, w http.ResponseWriter, r *http.Request) {
	if limit := h.maxBody.Load(); limit > 0 {
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	call := through.NewCall(w, r, r.RequestURI)
	err := call.Serve()
	h.summaries <- call.Summary()
	tooLarge, _ := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
	case errors.Is(err, relay.ErrClientGone):
		h.gone.Add(1)
		w.WriteHeader(statusClientGone)
	case tooLarge != nil:
		h.foreign.Add(1)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		h.t.Errorf("a call left the error %v", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// startProxy starts a relay in front of api, with the user acme connected and
// a quota that no test reaches.
func startProxy(t testing.TB, api string, change ...func(*relay.Config)) *harness {
	t.Helper()
	h := start(t, sidecartest.Config{API: api, Apps: []appconfig.Resolved{sidecartest.Unpaced()}}, change...)
	h.ConnectAs("acme", testToken)
	return h
}

// maxWait is the setting of that name.
func maxWait(d time.Duration) func(*relay.Config) {
	return func(c *relay.Config) { c.MaxWait = d }
}

// constantUser is the setting user with a text.
func constantUser(user string) func(*relay.Config) {
	return func(c *relay.Config) { c.User = userid.Source{Constant: user} }
}

// open is the setting of that name.
func open(c *relay.Config) { c.Open = true }

// raw sends a request head as it is, with the caller's key unless the header
// has an Authorization, and reads the answer.
func (h *harness) raw(requestLine string, header ...string) answer {
	h.t.Helper()
	if !hasLine(header, "Authorization:") {
		header = append([]string{"Authorization: Bearer " + testCallerKey}, header...)
	}
	return h.rawWithoutKey(requestLine, header...)
}

// rawWithoutKey is raw without a key.
func (h *harness) rawWithoutKey(requestLine string, header ...string) answer {
	h.t.Helper()
	if !hasLine(header, "Host:") {
		header = append([]string{"Host: localhost"}, header...)
	}
	client := dialWire(h.t, h.Addr())
	client.write(h.t, requestLine+" HTTP/1.1\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n")
	method, _, _ := strings.Cut(requestLine, " ")
	resp, err := http.ReadResponse(client.r, &http.Request{Method: method})
	return h.Read(resp, err)
}

func hasLine(header []string, name string) bool {
	return slices.ContainsFunc(header, func(line string) bool { return strings.HasPrefix(line, name) })
}

// acmeHead is a request head of the user acme, but for its end.
func acmeHead(requestLine string) string {
	return requestLine + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testCallerKey + "\r\nX-HubSpot-User: acme\r\n"
}

// wantOwnError checks that an answer is an error of the sidecar's own.
func wantOwnError(t testing.TB, a answer, status int, kind string) ownError {
	t.Helper()
	return sidecartest.WantOwnError(t, a, status, kind)
}

// logLines are the entries of the log that a message names.
func (h *harness) logLines(message string) (lines []map[string]any) {
	h.t.Helper()
	for line := range strings.Lines(h.Logs.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			lines = append(lines, entry)
		}
	}
	return lines
}

// metric gathers a metric by its labels: the value of a counter, or the count
// of a histogram.
func (h *harness) metric(name string) map[string]float64 {
	h.t.Helper()
	registry := prometheus.NewRegistry()
	if err := h.Metrics.Register(registry); err != nil {
		h.t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			values[strings.Join(labels, " ")] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return values
}
