package quota_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

func headers(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestReadUsage(t *testing.T) {
	const limit, left, interval = "X-HubSpot-RateLimit-Max", "X-HubSpot-RateLimit-Remaining", "X-HubSpot-RateLimit-Interval-Milliseconds"
	for name, tc := range map[string]struct {
		header http.Header
		want   quota.Usage
	}{
		"complete":        {headers(limit, "110", left, "109", interval, "10000"), quota.Usage{Max: 110, Remaining: 109, Per: 10 * time.Second}},
		"nothing left":    {headers(limit, "100", left, "0", interval, "10000"), quota.Usage{Max: 100, Per: 10 * time.Second}},
		"none":            {headers(), quota.Usage{}},
		"incomplete":      {headers(limit, "110", left, "109"), quota.Usage{}},
		"not a number":    {headers(limit, "110", left, "many", interval, "10000"), quota.Usage{}},
		"more than there": {headers(limit, "110", left, "111", interval, "10000"), quota.Usage{}},
		"negative":        {headers(limit, "110", left, "-1", interval, "10000"), quota.Usage{}},
		"no limit":        {headers(limit, "0", left, "0", interval, "10000"), quota.Usage{}},
		"no interval":     {headers(limit, "110", left, "1", interval, "0"), quota.Usage{}},
		"twice":           {headers(limit, "110", left, "1", left, "2", interval, "10000"), quota.Usage{}},
	} {
		if got := quota.ReadUsage(tc.header); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestReadLimited(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   quota.Limited
		ok     bool
	}{
		"rolling": {429, headers(), `{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","correlationId":"x","policyName":"TEN_SECONDLY_ROLLING","groupName":"publicapi:private_app-api-calls-ten-secondly:1512050:26892217"}`,
			quota.Limited{Policy: rolling}, true},
		"daily": {429, headers("Retry-After", "3600"), `{"status":"error","message":"You have reached your daily limit.","errorType":"RATE_LIMIT","policyName":"DAILY"}`,
			quota.Limited{Policy: apierror.PolicyDaily, RetryAfter: time.Hour}, true},
		"daily by its message": {429, headers(), `{"status":"error","message":"You have reached your daily limit."}`,
			quota.Limited{Policy: apierror.PolicyDaily}, true},
		"search": {429, headers(), `{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}`,
			quota.Limited{Policy: apierror.PolicySecondly}, true},
		"search as a 500": {500, headers(), `{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}`,
			quota.Limited{Policy: apierror.PolicySecondly}, true},
		"any other 500":        {500, headers(), `{"status":"error","message":"internal error"}`, quota.Limited{}, false},
		"a page of the edge":   {429, headers("Retry-After", "2"), `<html>slow down</html>`, quota.Limited{RetryAfter: 2 * time.Second}, true},
		"milliseconds":         {429, headers("Retry-After-Ms", "1500", "Retry-After", "9"), ``, quota.Limited{RetryAfter: 1500 * time.Millisecond}, true},
		"a date":               {429, headers("Retry-After", "Mon, 02 Jan 2006 15:04:15 GMT", "Date", "Mon, 02 Jan 2006 15:04:05 GMT"), ``, quota.Limited{RetryAfter: 10 * time.Second}, true},
		"no sensible time":     {429, headers("Retry-After", "-5"), ``, quota.Limited{}, true},
		"a year":               {429, headers("Retry-After", "31536000"), ``, quota.Limited{RetryAfter: 24 * time.Hour}, true},
		"no refusal":           {200, headers(), `{"message":"You have reached your daily limit."}`, quota.Limited{}, false},
		"a policy of its own":  {429, headers(), `{"policyName":"hourly"}`, quota.Limited{Policy: "HOURLY"}, true},
		"a message without it": {429, headers(), `{"message":"Too many requests"}`, quota.Limited{}, true},
	} {
		got, ok := quota.ReadLimited(tc.status, tc.header, []byte(tc.body))
		if got != tc.want || ok != tc.ok {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestClassOf(t *testing.T) {
	for _, tc := range []struct {
		method, path string
		want         quota.Class
	}{
		{"GET", "/crm/objects/2026-09/contacts", quota.Burst},
		{"POST", "/crm/objects/2026-09/contacts/search", quota.Search},
		{"POST", "/crm/v3/objects/2-123/search", quota.Search},
		{"GET", "/crm/objects/2026-09/contacts/search", quota.Burst},
		{"POST", "/crm/objects/2026-09/contacts/batch/read", quota.Burst},
		{"POST", "/crm/v4/associations/contacts/companies/batch/read", quota.Exempt},
		{"POST", "/crm/associations/2026-09/contacts/companies/batch/create", quota.Exempt},
		{"GET", "/crm/v4/objects/contacts/1/associations/companies", quota.Burst},
		{"PUT", "/cms/v3/source-code/draft/content/a.html", quota.Exempt},
		{"GET", "/cms/v3/blogs/posts", quota.Burst},
		{"POST", "/events/v3/send", quota.Exempt},
		{"POST", "/events/v3/send/batch", quota.Exempt},
		{"GET", "/events/v3/events", quota.Burst},
		{"POST", "/marketing/v4/email/single-send", quota.Exempt},
		{"POST", "/marketing/v3/transactional/single-email/send", quota.Exempt},
		{"GET", "/marketing/v3/emails", quota.Burst},
		{"GET", "/webhooks-journal/journal/2026-09/latest", quota.Exempt},
		{"GET", "/", quota.Burst},
		{"GET", "/search", quota.Burst},
	} {
		if got := quota.ClassOf(tc.method, tc.path); got != tc.want {
			t.Errorf("%s %s: %v, want %v", tc.method, tc.path, got, tc.want)
		}
	}
}

// limit sends a request that HubSpot refuses.
func limit(t *testing.T, l *quota.Limiter, class quota.Class, limited quota.Limited) {
	t.Helper()
	ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Class: class})
	if err != nil {
		t.Fatal(err)
	}
	ticket.Limited(limited)
}

func TestRefusalClosesTheBucket(t *testing.T) {
	for name, tc := range map[string]struct {
		limited       quota.Limited
		least, atMost time.Duration
	}{
		"with a time":     {quota.Limited{Policy: rolling, RetryAfter: 7 * time.Second}, 7 * time.Second, 7 * time.Second},
		"of the window":   {quota.Limited{Policy: rolling}, 100 * time.Millisecond, 10 * time.Second},
		"of a second":     {quota.Limited{Policy: apierror.PolicySecondly}, 500 * time.Millisecond, time.Second},
		"without a name":  {quota.Limited{}, 10 * time.Millisecond, 10 * time.Second},
		"of a page ahead": {quota.Limited{RetryAfter: time.Second}, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(110, 10*time.Second)
				limit(t, l, quota.Burst, tc.limited)
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
		"known reset":   {2 * time.Hour, 2 * time.Hour},
		"unknown reset": {0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(110, 10*time.Second)
				daily := quota.Limited{Policy: apierror.PolicyDaily, RetryAfter: tc.asked}
				limit(t, l, quota.Burst, daily)
				r := refused(t, l, quota.Request{HubID: 1, Wait: 24 * time.Hour})
				if !(r.Policy == apierror.PolicyDaily && r.RetryAfter == tc.reset) {
					t.Errorf("after the refusal: %+v", r)
				}
				// One at a time finds out.
				time.Sleep(tc.reset)
				probe, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
				if err != nil {
					t.Fatalf("the probe: %v", err)
				}
				refused(t, l, quota.Request{HubID: 1})
				probe.Limited(quota.Limited{Policy: apierror.PolicyDaily})
				time.Sleep(59 * time.Second)
				refused(t, l, quota.Request{HubID: 1})
				time.Sleep(time.Second)
				probe, err = l.Acquire(t.Context(), quota.Request{HubID: 1})
				if err != nil {
					t.Fatalf("the second probe: %v", err)
				}
				probe.Answered(quota.Usage{})
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
		ticket.Limited(quota.Limited{Policy: apierror.PolicyDaily})
		if r := refusal(t, <-done); r.Policy != apierror.PolicyDaily {
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
			ticket.Answered(quota.Usage{Max: 20, Remaining: 19 - i, Per: 30 * time.Second})
		}
		if r := refused(t, l, quota.Request{HubID: 1}); r.RetryAfter < 29*time.Second {
			t.Errorf("got %+v", r)
		}
	})
}
