package quota_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// limit sends a request that HubSpot refuses.
func limit(t *testing.T, l *quota.Limiter, counted hubspot.Limit, limited hubspot.Limited) {
	t.Helper()
	ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Limit: counted})
	if err != nil {
		t.Fatal(err)
	}
	ticket.Limited(limited)
}

func TestRefusalClosesTheBucket(t *testing.T) {
	for name, tc := range map[string]struct {
		limited       hubspot.Limited
		least, atMost time.Duration
	}{
		"with a time":     {hubspot.Limited{Policy: rolling, RetryAfter: 7 * time.Second}, 7 * time.Second, 7 * time.Second},
		"of the window":   {hubspot.Limited{Policy: rolling}, 100 * time.Millisecond, 10 * time.Second},
		"of a second":     {hubspot.Limited{Policy: hubspot.PolicySecondly}, 500 * time.Millisecond, time.Second},
		"without a name":  {hubspot.Limited{}, 10 * time.Millisecond, 10 * time.Second},
		"of a page ahead": {hubspot.Limited{RetryAfter: time.Second}, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(110, 10*time.Second)
				limit(t, l, hubspot.BurstLimit, tc.limited)
				refused(t, l, quota.Request{HubID: 1})
				use(t, l, quota.Request{HubID: 2})
				begun := time.Now()
				if _, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Minute}); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(begun); waited < tc.least || waited > tc.atMost {
					t.Errorf("waited %v, want %v to %v", waited, tc.least, tc.atMost)
				}
			})
		})
	}
}

func TestDailyLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		asked, reset time.Duration
	}{
		// Two hours are not believed without asking in between: one wrong
		// answer must not shut an account for longer than a minute.
		"known reset":   {2 * time.Hour, time.Minute},
		"soon":          {20 * time.Second, 20 * time.Second},
		"unknown reset": {0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(110, 10*time.Second)
				daily := hubspot.Limited{Policy: hubspot.PolicyDaily, RetryAfter: tc.asked}
				limit(t, l, hubspot.BurstLimit, daily)
				r := refused(t, l, quota.Request{HubID: 1, Wait: 24 * time.Hour})
				if !(r.Policy == hubspot.PolicyDaily && r.RetryAfter == tc.reset) {
					t.Errorf("after the refusal: %+v", r)
				}
				// One at a time finds out.
				time.Sleep(tc.reset)
				probe, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
				if err != nil {
					t.Fatalf("the probe: %v", err)
				}
				refused(t, l, quota.Request{HubID: 1})
				probe.Limited(hubspot.Limited{Policy: hubspot.PolicyDaily})
				time.Sleep(59 * time.Second)
				refused(t, l, quota.Request{HubID: 1})
				time.Sleep(time.Second)
				probe, err = l.Acquire(t.Context(), quota.Request{HubID: 1})
				if err != nil {
					t.Fatalf("the second probe: %v", err)
				}
				probe.Answered(hubspot.Usage{})
				use(t, l, quota.Request{HubID: 1})
			})
		})
	}
}

func TestDailyLimitRefusesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Minute})
			done <- err
		}()
		synctest.Wait()
		ticket.Limited(hubspot.Limited{Policy: hubspot.PolicyDaily})
		if r := refusal(t, <-done); r.Policy != hubspot.PolicyDaily {
			t.Errorf("got %+v", r)
		}
	})
}

// TestAnnouncedLimit has HubSpot allow less than the settings say.
func TestAnnouncedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(110, 10*time.Second)
		for i := range 20 {
			ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
			if err != nil {
				t.Fatal(err)
			}
			ticket.Answered(hubspot.Usage{Max: 20, Remaining: 19 - i, Per: 30 * time.Second})
		}
		if r := refused(t, l, quota.Request{HubID: 1}); r.RetryAfter < 29*time.Second {
			t.Errorf("got %+v", r)
		}
	})
}
