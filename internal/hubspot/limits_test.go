package hubspot_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
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
		want   hubspot.Usage
	}{
		"complete":        {headers(limit, "110", left, "109", interval, "10000"), hubspot.Usage{Max: 110, Remaining: 109, Per: 10 * time.Second}},
		"nothing left":    {headers(limit, "100", left, "0", interval, "10000"), hubspot.Usage{Max: 100, Per: 10 * time.Second}},
		"none":            {headers(), hubspot.Usage{}},
		"incomplete":      {headers(limit, "110", left, "109"), hubspot.Usage{}},
		"not a number":    {headers(limit, "110", left, "many", interval, "10000"), hubspot.Usage{}},
		"more than there": {headers(limit, "110", left, "111", interval, "10000"), hubspot.Usage{}},
		"negative":        {headers(limit, "110", left, "-1", interval, "10000"), hubspot.Usage{}},
		"no limit":        {headers(limit, "0", left, "0", interval, "10000"), hubspot.Usage{}},
		"no interval":     {headers(limit, "110", left, "1", interval, "0"), hubspot.Usage{}},
		"twice":           {headers(limit, "110", left, "1", left, "2", interval, "10000"), hubspot.Usage{}},
	} {
		if got := hubspot.ReadUsage(tc.header); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestReadLimited(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   hubspot.Limited
		ok     bool
	}{
		"rolling": {429, headers(), `{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","correlationId":"x","policyName":"TEN_SECONDLY_ROLLING","groupName":"publicapi:private_app-api-calls-ten-secondly:1512050:26892217"}`,
			hubspot.Limited{Policy: hubspot.PolicyTenSecondlyRolling}, true},
		"daily": {429, headers("Retry-After", "3600"), `{"status":"error","message":"You have reached your daily limit.","errorType":"RATE_LIMIT","policyName":"DAILY"}`,
			hubspot.Limited{Policy: hubspot.PolicyDaily, RetryAfter: time.Hour}, true},
		"daily by its message": {429, headers(), `{"status":"error","message":"You have reached your daily limit."}`,
			hubspot.Limited{Policy: hubspot.PolicyDaily}, true},
		"search": {429, headers(), `{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}`,
			hubspot.Limited{Policy: hubspot.PolicySecondly}, true},
		"search as a 500": {500, headers(), `{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}`,
			hubspot.Limited{Policy: hubspot.PolicySecondly}, true},
		"any other 500":        {500, headers(), `{"status":"error","message":"internal error"}`, hubspot.Limited{}, false},
		"a page of the edge":   {429, headers("Retry-After", "2"), `<html>slow down</html>`, hubspot.Limited{RetryAfter: 2 * time.Second}, true},
		"milliseconds":         {429, headers("Retry-After-Ms", "1500", "Retry-After", "9"), ``, hubspot.Limited{RetryAfter: 1500 * time.Millisecond}, true},
		"a date":               {429, headers("Retry-After", "Mon, 02 Jan 2006 15:04:15 GMT", "Date", "Mon, 02 Jan 2006 15:04:05 GMT"), ``, hubspot.Limited{RetryAfter: 10 * time.Second}, true},
		"no sensible time":     {429, headers("Retry-After", "-5"), ``, hubspot.Limited{}, true},
		"a year":               {429, headers("Retry-After", "31536000"), ``, hubspot.Limited{RetryAfter: 24 * time.Hour}, true},
		"no refusal":           {200, headers(), `{"message":"You have reached your daily limit."}`, hubspot.Limited{}, false},
		"a policy of its own":  {429, headers(), `{"policyName":"hourly"}`, hubspot.Limited{Policy: "HOURLY"}, true},
		"a message without it": {429, headers(), `{"message":"Too many requests"}`, hubspot.Limited{}, true},
	} {
		got, ok := hubspot.ReadLimited(tc.status, tc.header, []byte(tc.body))
		if got != tc.want || ok != tc.ok {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestLimitOf(t *testing.T) {
	for _, tc := range []struct {
		method, path string
		want         hubspot.Limit
	}{
		{"GET", "/crm/objects/2026-09/contacts", hubspot.BurstLimit},
		{"POST", "/crm/objects/2026-09/contacts/search", hubspot.SearchLimit},
		{"POST", "/crm/v3/objects/2-123/search", hubspot.SearchLimit},
		{"GET", "/crm/objects/2026-09/contacts/search", hubspot.BurstLimit},
		{"POST", "/crm/objects/2026-09/contacts/batch/read", hubspot.BurstLimit},
		{"POST", "/crm/v4/associations/contacts/companies/batch/read", hubspot.NoLimit},
		{"POST", "/crm/associations/2026-09/contacts/companies/batch/create", hubspot.NoLimit},
		{"GET", "/crm/v4/objects/contacts/1/associations/companies", hubspot.BurstLimit},
		{"PUT", "/cms/v3/source-code/draft/content/a.html", hubspot.NoLimit},
		{"GET", "/cms/v3/blogs/posts", hubspot.BurstLimit},
		{"POST", "/events/v3/send", hubspot.NoLimit},
		{"POST", "/events/v3/send/batch", hubspot.NoLimit},
		{"GET", "/events/v3/events", hubspot.BurstLimit},
		{"POST", "/marketing/v4/email/single-send", hubspot.NoLimit},
		{"POST", "/marketing/v3/transactional/single-email/send", hubspot.NoLimit},
		{"GET", "/marketing/v3/emails", hubspot.BurstLimit},
		{"GET", "/webhooks-journal/journal/2026-09/latest", hubspot.JournalLimit},
		{"GET", "/", hubspot.BurstLimit},
		{"GET", "/search", hubspot.BurstLimit},
	} {
		if got := hubspot.LimitOf(tc.method, tc.path); got != tc.want {
			t.Errorf("%s %s: %v, want %v", tc.method, tc.path, got, tc.want)
		}
	}
}
