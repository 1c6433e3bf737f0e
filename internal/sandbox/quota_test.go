package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// twoInstalls are two apps that have every scope of the demo app.
func twoInstalls(o *sandbox.Options) {
	second := sandbox.DemoApp()
	second.ClientID, second.ClientSecret = "second", secret.New("second-secret")
	o.Apps = []sandbox.App{sandbox.DemoApp(), second}
}

func TestBurstQuota(t *testing.T) {
	r := newRig(t, twoInstalls)
	token := r.connect().access
	for i := range 110 {
		a := r.api("GET", contacts+"/101", token, "").want(200)
		if got, want := a.header.Get("X-HubSpot-RateLimit-Remaining"), fmt.Sprint(109-i); got != want {
			t.Fatalf("remaining %s, want %s", got, want)
		}
		if a.header.Get("X-HubSpot-RateLimit-Max") != "110" || a.header.Get("X-HubSpot-RateLimit-Interval-Milliseconds") != "10000" {
			t.Fatalf("header %v", a.header)
		}
		r.clock.advance(10 * time.Millisecond)
	}
	a := r.api("GET", contacts, token, "").want(http.StatusTooManyRequests)
	want := fmt.Sprintf(`{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","correlationId":%q,"policyName":"TEN_SECONDLY_ROLLING","groupName":"publicapi:public_app-api-calls-ten-secondly:5150001:%d"}`,
		a.header.Get("X-HubSpot-Correlation-Id"), sandbox.DemoHubID)
	if a.body != want || a.header.Get("X-HubSpot-RateLimit-Remaining") != "0" {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	t.Run("counts errors, not search", func(t *testing.T) {
		r.api("GET", "/crm/v3/objects/contacts/777777", token, "").want(429)
		r.api("POST", contacts+"/search", token, "{}").want(200)
	})
	t.Run("per portal", func(t *testing.T) {
		other := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID)).access
		r.api("GET", contacts, other, "").want(200)
	})
	t.Run("per app", func(t *testing.T) {
		other := r.exchange(r.code("client_id", "second"), "client_id", "second", "client_secret", "second-secret").access
		r.api("GET", contacts, other, "").want(200)
	})
	t.Run("not per token", func(t *testing.T) {
		r.api("GET", contacts, r.connect().access, "").want(429)
	})
	t.Run("rolls", func(t *testing.T) {
		// The first call was 1.1 s ago; two have left the window after
		// another 8.91 s, and refused calls took no place in it.
		r.clock.advance(8910 * time.Millisecond)
		r.api("GET", contacts, token, "").want(200)
		r.api("GET", contacts, token, "").want(200)
		r.api("GET", contacts, token, "").want(429)
	})
	if s := r.box.Stats(); s.BeyondQuota != 4 || s.Portals[0].BeyondBurst != 4 || s.Portals[0].Statuses["429"] != 4 {
		t.Errorf("stats %+v", s.Portals)
	}
}

func TestSearchQuota(t *testing.T) {
	r := newRig(t, twoInstalls)
	token := r.connect().access
	code := r.code("client_id", "second")
	other := r.exchange(code, "client_id", "second", "client_secret", "second-secret").access
	for i := range 5 {
		a := r.api("POST", contacts+"/search", []string{token, other}[i%2], "{}").want(200)
		if a.header.Get("X-HubSpot-RateLimit-Max") != "" {
			t.Fatal("search answers have no rate-limit headers")
		}
	}
	a := r.api("POST", contacts+"/search", token, "{}").want(429)
	if a.body != `{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}` || a.header.Get("X-HubSpot-RateLimit-Max") != "" {
		t.Errorf("body %s", a.body)
	}
	r.clock.advance(time.Second)
	r.api("POST", contacts+"/search", token, "{}").want(200)
	if s := r.box.Stats(); s.Portals[0].BeyondSearch != 1 {
		t.Errorf("stats %+v", s.Portals)
	}
}

func TestQuotaCanBeSetAndDisabled(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		o.Quota = sandbox.Quota{Requests: 2, Interval: time.Minute}
		o.DisableQuota = true
	})
	token := r.connect().access
	for range 5 {
		a := r.api("GET", contacts, token, "").want(200)
		if a.header.Get("X-HubSpot-RateLimit-Interval-Milliseconds") != "60000" || a.header.Get("X-HubSpot-RateLimit-Max") != "2" {
			t.Fatalf("header %v", a.header)
		}
	}
	if s := r.box.Stats(); s.BeyondQuota != 3 || s.Portals[0].Statuses["200"] != 5 {
		t.Errorf("stats %+v", s)
	}
}

func TestQuotaIsExactUnderConcurrency(t *testing.T) {
	r := newRig(t, nil)
	token := r.connect().access
	var passed, refused atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				a, err := r.try("GET", contacts+"/101", "", "Authorization", "Bearer "+token)
				switch {
				case err != nil:
					t.Error(err)
				case a.status == 200:
					passed.Add(1)
				case a.status == 429 && strings.Contains(a.body, "TEN_SECONDLY_ROLLING"):
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 110 || refused.Load() != 50 {
		t.Errorf("%d passed and %d refused, want 110 and 50", passed.Load(), refused.Load())
	}
}
