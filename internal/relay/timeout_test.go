package relay

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

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// transportOf finds the transport of the first hubspot_proxy in routes.
func transportOf(routes caddyhttp.RouteList) *Transport {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *caddyhttp.Subroute:
				if t := transportOf(handler.Routes); t != nil {
					return t
				}
			case *reverseproxy.Handler:
				if t, ok := handler.Transport.(*Transport); ok {
					return t
				}
			}
		}
	}
	return nil
}

// silentResolver is a DNS server that never answers.
func silentResolver(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
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
	for _, tc := range []struct{ name, api, setting string }{
		{"dial_timeout", "https://api.hubspot.test", "dial_timeout 200ms\n resolvers " + silentResolver(t)},
		{"tls_timeout", "https://" + silentListener(t), "tls_timeout 200ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			site := "hubspot_proxy hbdev {\n transport http {\n " + tc.setting + "\n }\n }"
			h := startCaddy(t, withQuota(withAPI(hubspotCaddyfile("", site), tc.api), "1 1h"))
			connect(t, h, "acme", testToken)
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
	gone := make(chan bool, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- true
	}))
	defer upstream.Close()
	h := startProxy(t, upstream.URL, "hubspot_proxy hbdev {\n transport http {\n response_header_timeout 200ms\n }\n }")
	got, tries, _ := h.call("GET", contacts, "")
	wantOwnError(t, got, 504, "upstream_timeout")
	if tries != "1" {
		t.Errorf("%s tries", tries)
	}
	soon(t, "the end of the request to HubSpot", gone)
}

func TestTimeoutsByDefault(t *testing.T) {
	startCaddy(t, hubspotCaddyfile("", authAndProxy))
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		transport := transportOf(server.Routes)
		if transport == nil {
			continue
		}
		got := transport.HTTPTransport.Transport
		if got.ResponseHeaderTimeout != 100*time.Second || got.TLSHandshakeTimeout != 10*time.Second || got.ExpectContinueTimeout != time.Second {
			t.Errorf("response_header_timeout %v, tls_timeout %v, expect_continue_timeout %v", got.ResponseHeaderTimeout, got.TLSHandshakeTimeout, got.ExpectContinueTimeout)
		}
		return
	}
	t.Fatal("no hubspot_proxy")
}

// waitingForQuota is how many requests of this process wait in a limiter.
func waitingForQuota() int {
	stacks := make([]byte, 8<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "quota.(*bucket).wait(")
}

// TestWaitersThatGoAwayHoldNothing has clients go away that wait for quota:
// their places, and all that their requests held.
func TestWaitersThatGoAwayHoldNothing(t *testing.T) {
	const waiters = 20
	h := startSandboxed(t, withQuota(hubspotCaddyfile("", "metrics /metrics\n hubspot_auth\n hubspot_proxy hbdev {\n max_wait 2h\n }"), "1 1h"))
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
	const gone = `caddy_hubspot_quota_wait_seconds_count{app="hbdev",quota="burst",result="gone"} 20`
	h.WaitFor("the metrics to count them", func() bool { return strings.Contains(h.Get("/metrics", "").Text, gone) })
	if n := h.Sandbox.Stats().Portals[0].Requests; n != 1 {
		t.Errorf("%d requests reached HubSpot, want 1", n)
	}
}
