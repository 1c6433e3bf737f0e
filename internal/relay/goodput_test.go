package relay_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

var fullGoodput = flag.Bool("goodput", false, "run TestGoodput with HubSpot's own quota of 110 in 10 s, which takes minutes")

// goodputRun is what TestGoodput measures.
type goodputRun struct {
	calls, workers int
	quota          sandbox.Quota
	// tolerance is by how much a full run may take longer than it has to.
	tolerance float64
	// refused is how many 429s may reach clients: on a busy machine, with a
	// short window, a call may be refused as often as it is tried.
	refused int64
}

// ideal is the shortest time in which the calls can be made.
func (g goodputRun) ideal() time.Duration {
	return time.Duration((g.calls-1)/g.quota.Requests) * g.quota.Interval
}

// TestGoodput has 50 workers make calls on one portal, as fast as they can:
// through one sidecar, through three that do not know of each other, and
// through a plain proxy with a client that does what HubSpot's Node
// SDK does after a 429.
func TestGoodput(t *testing.T) {
	t.Parallel()
	run := goodputRun{calls: 340, workers: 50, quota: sandbox.Quota{Requests: 110, Interval: 2 * time.Second}, refused: 3}
	if *fullGoodput {
		run = goodputRun{calls: 1000, workers: 50, quota: sandbox.Quota{Requests: 110, Interval: 10 * time.Second}, tolerance: 0.05}
	}
	for _, sidecars := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d sidecars", sidecars), func(t *testing.T) { t.Parallel(); run.throughSidecars(t, sidecars) })
	}
	t.Run("plain proxy", func(t *testing.T) { t.Parallel(); run.throughPlainProxy(t) })
}

// start starts three relays that are one app for HubSpot and have a limiter
// each, as three processes have, below /0, /1 and /2, and a plain proxy below
// /plain. It returns HubSpot's token for the user acme, who is connected.
func (g goodputRun) start(t *testing.T) (*harness, string) {
	t.Helper()
	app := sidecartest.App()
	app.Quota = appconfig.Rate{Count: g.quota.Requests, Per: g.quota.Interval}
	h := startSandboxed(t, sidecartest.Config{Apps: []appconfig.Resolved{app}, Sandbox: sandbox.Options{Quota: g.quota}}, maxWait(time.Minute))
	token, err := h.App("hbdev").Manager.Token(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := url.Parse(h.SandboxURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(plain) }, Transport: newTransport(t)}
	var relays []*relay.Relay
	for range 3 {
		h.forgetQuota()
		relays = append(relays, h.relay.Load())
	}
	h.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.URL.Path[1:], "/")
		var to http.Handler = proxy
		if name != "plain" {
			to = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(relays[name[0]-'0'], w, r) })
		}
		http.StripPrefix("/"+name, to).ServeHTTP(w, r)
	}))
	return h, token.Access.Reveal()
}

// measure has the workers make the calls and returns how long it took.
func (g goodputRun) measure(call func(worker int)) time.Duration {
	var wg sync.WaitGroup
	var made atomic.Int64
	begun := time.Now()
	for worker := range g.workers {
		wg.Go(func() {
			for made.Add(1) <= int64(g.calls) {
				call(worker)
			}
		})
	}
	wg.Wait()
	return time.Since(begun)
}

// goodputClient keeps its connections, as a program does that makes many
// calls.
func goodputClient(h *harness, workers int) *http.Client {
	transport := h.Transport()
	transport.DisableKeepAlives = false
	transport.MaxIdleConnsPerHost = workers
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(client *http.Client, path, token string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, testBase+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{"Authorization": {"Bearer " + token}, "X-Hubspot-User": {"acme"}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func (g goodputRun) throughSidecars(t *testing.T, sidecars int) {
	h, _ := g.start(t)
	client := goodputClient(h, g.workers)
	var failed atomic.Int64
	took := g.measure(func(worker int) {
		status, err := get(client, fmt.Sprintf("/%d%s?limit=1", worker%sidecars, contacts), testCallerKey)
		switch {
		case status == http.StatusTooManyRequests:
			failed.Add(1)
		case status != 200 || err != nil:
			t.Errorf("status %d, %v", status, err)
		}
	})
	beyond := h.Sandbox.Stats().BeyondQuota
	t.Logf("%d calls by %d workers: %v; ideal %v (%+.1f %%); 429s at clients %d, at sidecars %d", g.calls, g.workers,
		took.Round(time.Millisecond), g.ideal(), 100*(took.Seconds()/g.ideal().Seconds()-1), failed.Load(), beyond)
	if failed.Load() > g.refused {
		t.Errorf("%d calls were refused to clients", failed.Load())
	}
	if !*fullGoodput {
		return // times on a busy machine prove nothing
	}
	if took.Seconds() > g.ideal().Seconds()*(1+g.tolerance) {
		t.Errorf("took %v, more than %v and %.0f %%", took, g.ideal(), g.tolerance*100)
	}
	if beyond > int64(10*(sidecars-1)) {
		t.Errorf("HubSpot refused %d calls", beyond)
	}
}

// throughPlainProxy is there to compare with. HubSpot's Node SDK waits for
// 10 seconds after a refusal, twice as long after the next, and so on.
func (g goodputRun) throughPlainProxy(t *testing.T) {
	h, token := g.start(t)
	client := goodputClient(h, g.workers)
	var refused, failed atomic.Int64
	took := g.measure(func(int) {
		const retries = 6
		for try := 1; ; try++ {
			status, err := get(client, "/plain"+contacts+"?limit=1", token)
			switch {
			case err != nil:
				t.Error(err)
				return
			case status != http.StatusTooManyRequests:
				return
			case try > retries:
				failed.Add(1)
				return
			}
			refused.Add(1)
			time.Sleep(time.Duration(try) * g.quota.Interval)
		}
	})
	t.Logf("%d calls by %d workers: %v; ideal %v (%+.1f %%); 429s at clients %d, calls given up %d", g.calls, g.workers,
		took.Round(time.Millisecond), g.ideal(), 100*(took.Seconds()/g.ideal().Seconds()-1), refused.Load(), failed.Load())
}
