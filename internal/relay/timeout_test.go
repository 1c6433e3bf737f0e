package relay_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// silentResolver asks a DNS server that never answers.
func silentResolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// silentListener takes connections and says nothing on them.
func silentListener(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// TestConnectionsThatTakeTooLong has no connection come about in time. What
// was not sent takes no place of the quota, which is 1 here.
func TestConnectionsThatTakeTooLong(t *testing.T) {
	t.Parallel()
	slowDial := newTransport(t)
	slowDial.DialContext = (&net.Dialer{Timeout: 200 * time.Millisecond, Resolver: silentResolver(t)}).DialContext
	slowTLS := newTransport(t)
	slowTLS.TLSHandshakeTimeout = 200 * time.Millisecond
	for _, tc := range []struct {
		name, api string
		transport *http.Transport
	}{
		{"no name is resolved", "https://api.hubspot.test", slowDial},
		{"no TLS comes about", "https://" + silentListener(t), slowTLS},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, sidecartest.Config{API: tc.api, Apps: quotaOf(1, time.Hour)}, func(c *relay.Config) { c.Transport = tc.transport })
			h.ConnectAs("acme", testToken)
			for range 2 {
				got, tries, took := h.call("POST", contacts, "{}")
				e := wantOwnError(t, got, 502, "upstream_unreachable")
				if tries != "3" || !strings.Contains(e.Message, "not sent") || took < 600*time.Millisecond {
					t.Errorf("after %v and %s tries: %s", took, tries, got.Text)
				}
			}
		})
	}
}

// TestSlowAnswerIsLetGo has HubSpot take longer than response_header_timeout:
// the request to it ends, too.
func TestSlowAnswerIsLetGo(t *testing.T) {
	t.Parallel()
	gone := make(chan bool, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- true
	}))
	defer upstream.Close()
	h := startProxy(t, upstream.URL, headerTimeout(t, 200*time.Millisecond))
	got, tries, _ := h.call("GET", contacts, "")
	wantOwnError(t, got, 504, "upstream_timeout")
	if tries != "1" {
		t.Errorf("%s tries", tries)
	}
	soon(t, "the end of the request to HubSpot", gone)
}

// waitingForQuota is how many requests of this process wait in a limiter.
func waitingForQuota() int {
	stacks := make([]byte, 8<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "quota.(*bucket).wait(")
}

// TestWaitersThatGoAwayHoldNothing has clients go away that wait for quota:
// their places, and all that their requests held.
//
// It counts the goroutines of the process, and so runs alone.
func TestWaitersThatGoAwayHoldNothing(t *testing.T) {
	const waiters = 20
	h := startSandboxed(t, sidecartest.Config{Apps: quotaOf(1, time.Hour)}, maxWait(2*time.Hour))
	if got, _, _ := h.call("GET", contacts, ""); got.StatusCode != 200 {
		t.Fatal(got.Status)
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", testBase+contacts, strings.NewReader("{}"))
			req.Header = http.Header{"Authorization": {"Bearer " + testCallerKey}, "X-Hubspot-User": {"acme"}}
			if res, err := h.Client().Do(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				t.Errorf("a waiter got %s", res.Status)
			}
		})
	}
	h.WaitFor("the clients to be in the queue", func() bool { return waitingForQuota() == waiters })
	cancel()
	wg.Wait()
	h.WaitFor("the queue to be empty", func() bool { return waitingForQuota() == 0 })
	h.WaitFor("the goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
	h.WaitFor("the metrics to count them", func() bool {
		return h.metric("caddy_hubspot_quota_wait_seconds")["app=hbdev quota=burst result=gone"] == waiters
	})
	if n := h.Sandbox.Stats().Portals[0].Requests; n != 1 {
		t.Errorf("%d requests reached HubSpot, want 1", n)
	}
}
