package relay_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// quotaOf is the app hbdev with another quota.
func quotaOf(count int, per time.Duration) []appconfig.Resolved {
	app := sidecartest.App()
	app.Quota = appconfig.Rate{Count: count, Per: per}
	return []appconfig.Resolved{app}
}

func TestQuotaHeadersAreChecked(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{})
	for _, tc := range []struct{ name, value, text string }{
		{"X-HubSpot-Max-Wait", "soon", "duration"},
		{"X-HubSpot-Max-Wait", "-1s", "duration"},
		{"X-HubSpot-Max-Wait", "5", "duration"},
		{"X-HubSpot-Max-Wait", "", "duration"},
		{"X-HubSpot-Priority", "urgent", "batch"},
	} {
		got, _, _ := h.call("GET", contacts, "", tc.name, tc.value)
		if e := wantOwnError(t, got, 400, "bad_request"); !strings.Contains(e.Message, tc.text) {
			t.Errorf("%s: %s: %s", tc.name, tc.value, e.Message)
		}
	}
	got, _, _ := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", "1s", "X-HubSpot-Max-Wait", "2s")
	wantOwnError(t, got, 400, "bad_request")
	got, _, _ = h.call("GET", contacts, "", "X-HubSpot-Priority", "batch", "X-HubSpot-Priority", "interactive")
	wantOwnError(t, got, 400, "bad_request")
	for _, header := range [][]string{{"X-HubSpot-Max-Wait", "0"}, {"X-HubSpot-Max-Wait", "1h"}, {"X-HubSpot-Priority", "batch"}, {"X-HubSpot-Priority", "Interactive"}} {
		if got, _, _ := h.call("GET", contacts, "", header...); got.StatusCode != 200 {
			t.Errorf("%v: %s %s", header, got.Status, got.Text)
		}
	}
}

func TestQuotaIsKept(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{Apps: quotaOf(5, 6*time.Second)})
	asked := func() int64 { return h.Sandbox.Stats().Portals[0].Requests }
	for range 5 {
		if got, _, took := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", "0"); got.StatusCode != 200 {
			t.Fatalf("below the quota: %s after %v", got.Status, took)
		}
	}
	// Search has a quota of its own.
	if got, _, took := h.call("POST", contacts+"/search", "{}", "X-HubSpot-Max-Wait", "0"); got.StatusCode != 200 {
		t.Errorf("search: %s after %v", got.Status, took)
	}
	before := asked()
	for _, wait := range []string{"0", "100ms"} {
		got, _, took := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", wait)
		e := wantOwnError(t, got, 429, "rate_limited")
		if e.PolicyName != "TEN_SECONDLY_ROLLING" || !strings.Contains(e.Message, "ten_secondly_rolling") || took > 3*time.Second {
			t.Errorf("refused after %v: %s", took, got.Text)
		}
		if after, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || after < 1 || after > 7 {
			t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
		}
	}
	// Another relay of the app forgets nothing.
	h.use(maxWait(9 * time.Second))
	got, _, _ := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", "0")
	wantOwnError(t, got, 429, "rate_limited")
	if n := asked() - before; n != 0 {
		t.Errorf("HubSpot was asked %d times beyond the quota", n)
	}
	// Whoever has time is served.
	got, _, took := h.call("GET", contacts, "")
	if got.StatusCode != 200 || took < 500*time.Millisecond {
		t.Errorf("with patience: %s after %v", got.Status, took)
	}
	if s := h.Sandbox.Stats(); s.BeyondQuota != 0 {
		t.Errorf("%d requests beyond the quota", s.BeyondQuota)
	}
}

func TestQuotaOfClientsThatGiveUp(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{Apps: quotaOf(1, time.Second)})
	if got, _, _ := h.call("GET", contacts, ""); got.StatusCode != 200 {
		t.Fatal(got.Status)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", testBase+contacts, nil)
			req.Header.Set("Authorization", "Bearer "+testCallerKey)
			req.Header.Set("X-HubSpot-User", "acme")
			if res, err := h.Client().Do(req); err == nil {
				_ = res.Body.Close()
			}
		})
	}
	wg.Wait()
	if got, _, took := h.call("GET", contacts, ""); got.StatusCode != 200 || took > 4*time.Second {
		t.Errorf("behind clients that gave up: %s after %v", got.Status, took)
	}
	if n := h.Sandbox.Stats().Portals[0].Requests; n != 2 {
		t.Errorf("%d requests reached HubSpot, want 2", n)
	}
}

func TestDailyLimitIsRemembered(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{})
	h.Fault(`{"api":{"answer":"rate_limited","policy":"DAILY","retry_after":3600}}`)
	got, tries, _ := h.call("GET", contacts, "")
	if got.StatusCode != 429 || tries != "1" || !strings.Contains(got.Text, `"policyName":"DAILY"`) || strings.Contains(got.Text, "SIDECAR") {
		t.Errorf("HubSpot's answer: %s %s", got.Status, got.Text)
	}
	got, _, took := h.call("GET", contacts, "")
	e := wantOwnError(t, got, 429, "rate_limited")
	if e.PolicyName != "DAILY" || took > 5*time.Second {
		t.Errorf("after %v: %s", took, got.Text)
	}
	// Whether it is still so is found out once a minute, as a single wrong
	// answer must not shut an account for longer: so it is then that asking
	// again makes sense, and not in an hour.
	if after, _ := strconv.Atoi(got.Header.Get("Retry-After")); after < 50 || after > 60 {
		t.Errorf("Retry-After %d", after)
	}
	if n := h.Sandbox.Stats().APIFaults; n != 1 {
		t.Errorf("HubSpot was asked %d times", n)
	}
}

func TestQuotaMetrics(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{Apps: quotaOf(1, 500*time.Millisecond)})
	for range 2 {
		h.call("GET", contacts, "")
	}
	h.call("GET", contacts, "", "X-HubSpot-Max-Wait", "0")
	h.Fault(`{"api":{"answer":"locked","retry_after":1,"times":1}}`)
	h.call("GET", contacts, "")
	waits := h.metric("caddy_hubspot_quota_wait_seconds")
	if served := waits["app=hbdev quota=burst result=served"]; served < 1 {
		t.Errorf("%v calls were served after a wait; want some: %v", served, waits)
	}
	if refused := waits["app=hbdev quota=burst result=refused"]; refused != 1 {
		t.Errorf("%v calls were refused; want 1: %v", refused, waits)
	}
	if retries := h.metric("caddy_hubspot_retries_total"); retries["app=hbdev reason=locked"] < 1 {
		t.Errorf("retries: %v", retries)
	}
}

// TestInteractiveOvertakesBatch has batch work use all of the quota.
func TestInteractiveOvertakesBatch(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{
		Apps: quotaOf(20, time.Second), Sandbox: sandbox.Options{Quota: sandbox.Quota{Requests: 20, Interval: time.Second}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := h.Client()
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 50 {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequestWithContext(ctx, "GET", testBase+contacts, nil)
				req.Header.Set("Authorization", "Bearer "+testCallerKey)
				req.Header.Set("X-HubSpot-User", "acme")
				req.Header.Set("X-HubSpot-Priority", "batch")
				res, err := client.Do(req)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != 200 && ctx.Err() == nil {
					t.Errorf("batch: %s", res.Status)
				}
				served.Add(1)
			}
		})
	}
	// More than the quota: from now on there is a queue.
	h.WaitFor("batch work to queue up", func() bool { return served.Load() > 60 })
	for range 5 {
		// Some 49 wait already, and an interactive request overtakes them.
		before := served.Load()
		got, _, _ := h.call("GET", contacts, "")
		if ahead := served.Load() - before; got.StatusCode != 200 || ahead > 25 {
			t.Errorf("interactive: %s behind %d of batch", got.Status, ahead)
		}
	}
	cancel()
	wg.Wait()
}

// TestALoudTokenStarvesNobody has one user token with many calls in parallel,
// and another caller of the same customer that makes one call after the other.
func TestALoudTokenStarvesNobody(t *testing.T) {
	t.Parallel()
	const otherKey = "key-of-the-other-caller-0123456789"
	h := startSandboxed(t, sidecartest.Config{
		Apps: quotaOf(20, time.Second), Sandbox: sandbox.Options{Quota: sandbox.Quota{Requests: 20, Interval: time.Second}},
		Callers: []access.CallerConfig{{Name: "other", Keys: []secret.Text{secret.New(otherKey)}}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, token := h.Client(), h.IssueToken("acme")
	call := func(bearer string) (status int, err error) {
		req, _ := http.NewRequestWithContext(ctx, "GET", testBase+contacts, nil)
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("X-HubSpot-User", "acme")
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer func() { _ = res.Body.Close() }()
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, err
	}
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 60 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if status, err := call(token); err == nil && status == 200 {
					served.Add(1)
				}
			}
		})
	}
	h.WaitFor("the loud one to queue up", func() bool { return served.Load() > 25 })
	for range 5 {
		before := served.Load()
		status, err := call(otherKey)
		if ahead := served.Load() - before; status != 200 || err != nil || ahead > 30 {
			t.Errorf("the other caller: %d, %v, behind %d of the loud one", status, err, ahead)
		}
	}
	cancel()
	wg.Wait()
}
