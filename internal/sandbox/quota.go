package sandbox

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The policies that HubSpot names in its 429 bodies. policySearch is the
// sandbox's own name for the search limit, whose body names none.
const (
	policyRolling  = "TEN_SECONDLY_ROLLING"
	policySecondly = "SECONDLY"
	policyDaily    = "DAILY"
	policySearch   = "SEARCH"
)

// window is a rolling limit of one key: the times of the last accepted
// requests, in a ring.
type window struct {
	mu    sync.Mutex
	times []time.Time
	start int // index of the oldest
	used  int
}

// take accepts a request if the limit allows. Refused requests do not count:
// HubSpot did not process them. It returns what is left in the window.
func (wd *window) take(now time.Time, interval time.Duration) (remaining int, ok bool) {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	for wd.used > 0 && now.Sub(wd.times[wd.start]) >= interval {
		wd.start = (wd.start + 1) % len(wd.times)
		wd.used--
	}
	if wd.used == len(wd.times) {
		return 0, false
	}
	wd.times[(wd.start+wd.used)%len(wd.times)] = now
	wd.used++
	return len(wd.times) - wd.used, true
}

// limiter applies one kind of quota to all its keys.
type limiter struct {
	name  string // in statistics
	quota Quota
	now   func() time.Time
	// announced limiters send HubSpot's rate-limit headers; search does not.
	announced bool

	mu      sync.Mutex
	windows map[grantKey]*window
}

// quotas are the two limits that HubSpot applies to an OAuth app.
type quotas struct {
	burst  *limiter
	search *limiter
}

func newQuotas(o Options) *quotas {
	return &quotas{
		burst: &limiter{
			name: "burst", quota: o.Quota, now: o.Now, announced: true,
			windows: make(map[grantKey]*window),
		},
		search: &limiter{
			name: "search", quota: o.SearchQuota, now: o.Now,
			windows: make(map[grantKey]*window),
		},
	}
}

// take counts a call against the quota of its app and portal, or, for
// search, of its portal.
func (l *limiter) take(c *call) (remaining int, ok bool) {
	key := grantKey{hubID: c.hubID()}
	if l.announced {
		key.clientID = c.token.app.ClientID
	}
	l.mu.Lock()
	wd, found := l.windows[key]
	if !found {
		wd = &window{times: make([]time.Time, l.quota.Requests)}
		l.windows[key] = wd
	}
	l.mu.Unlock()
	return wd.take(l.now(), l.quota.Interval)
}

// headers adds what HubSpot tells of the quota.
func (l *limiter) headers(p reply, remaining int) reply {
	if !l.announced {
		return p
	}
	return p.with("X-HubSpot-RateLimit-Max", strconv.Itoa(l.quota.Requests)).
		with("X-HubSpot-RateLimit-Remaining", strconv.Itoa(remaining)).
		with("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.FormatInt(l.quota.Interval.Milliseconds(), 10))
}

// refuse is the 429 of the limiter.
func (l *limiter) refuse(c *call) reply {
	if l.announced {
		return rateLimited(c, policyRolling)
	}
	return rateLimited(c, policySearch)
}

// rateLimitBody is the 429 body with a policy.
type rateLimitBody struct {
	Status        string `json:"status"`
	Message       string `json:"message"`
	ErrorType     string `json:"errorType,omitempty"`
	CorrelationID string `json:"correlationId,omitempty"`
	PolicyName    string `json:"policyName,omitempty"`
	GroupName     string `json:"groupName,omitempty"`
	Category      string `json:"category,omitempty"`
}

// rateLimited makes the 429 of a policy. Search has a shape of its own,
// without policyName and correlationId.
func rateLimited(c *call, policy string) reply {
	limits := map[string]struct{ words, group string }{
		policyRolling:  {"ten_secondly_rolling", "ten-secondly"},
		policySecondly: {"secondly", "secondly"},
		policyDaily:    {"daily", "daily"},
	}
	limit, ok := limits[policy]
	if !ok {
		return jsonReply(http.StatusTooManyRequests, rateLimitBody{
			Status: "error", Message: "You have reached your secondly limit.", Category: "RATE_LIMITS",
		})
	}
	return jsonReply(http.StatusTooManyRequests, rateLimitBody{
		Status: "error", Message: "You have reached your " + limit.words + " limit.",
		ErrorType: "RATE_LIMIT", CorrelationID: c.correlation, PolicyName: policy,
		GroupName: fmt.Sprintf("publicapi:public_app-api-calls-%s:%d:%d", limit.group, c.token.app.AppID, c.hubID()),
	})
}
