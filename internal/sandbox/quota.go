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

// limiter applies one kind of quota, a rolling limit, to all its keys.
type limiter struct {
	quota Quota
	now   func() time.Time
	// search is set for the search quota, which is per portal and announces
	// itself in no header.
	search bool

	mu       sync.Mutex
	accepted map[grantKey][]time.Time // the requests of the last interval
}

func newLimiter(quota Quota, now func() time.Time, search bool) *limiter {
	return &limiter{quota: quota, now: now, search: search, accepted: make(map[grantKey][]time.Time)}
}

// take counts a call against the quota of its app and portal, or, for
// search, of its portal, and returns what is left. Refused calls do not count:
// HubSpot did not process them.
func (l *limiter) take(c *call) (remaining int, ok bool) {
	key := grantKey{hubID: c.hubID()}
	if !l.search {
		key.clientID = c.token.app.ClientID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	times, now := l.accepted[key], l.now()
	for len(times) > 0 && now.Sub(times[0]) >= l.quota.Interval {
		times = times[1:]
	}
	if ok = len(times) < l.quota.Requests; ok {
		times = append(times, now)
	}
	l.accepted[key] = times
	return l.quota.Requests - len(times), ok
}

// headers adds what HubSpot tells of the quota.
func (l *limiter) headers(p reply, remaining int) reply {
	if l.search {
		return p
	}
	return p.with("X-HubSpot-RateLimit-Max", strconv.Itoa(l.quota.Requests)).
		with("X-HubSpot-RateLimit-Remaining", strconv.Itoa(remaining)).
		with("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.FormatInt(l.quota.Interval.Milliseconds(), 10))
}

func (l *limiter) refuse(c *call) reply {
	if l.search {
		return rateLimited(c, policySearch)
	}
	return rateLimited(c, policyRolling)
}

// beyond counts a call that arrived when the quota was used up.
func (l *limiter) beyond(p *PortalStats) {
	if l.search {
		p.BeyondSearch++
		return
	}
	p.BeyondBurst++
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
		return jsonReply(http.StatusTooManyRequests, apiError{
			Status: "error", Message: "You have reached your secondly limit.", Category: "RATE_LIMITS",
		})
	}
	return jsonReply(http.StatusTooManyRequests, apiError{
		Status: "error", Message: "You have reached your " + limit.words + " limit.",
		ErrorType: "RATE_LIMIT", CorrelationID: c.correlation, PolicyName: policy,
		GroupName: fmt.Sprintf("publicapi:public_app-api-calls-%s:%d:%d", limit.group, c.token.app.AppID, c.hubID()),
	})
}
