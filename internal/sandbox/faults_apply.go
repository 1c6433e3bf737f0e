package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// applyToken answers a request to a token endpoint as the first matching rule
// says; real is the answer without a fault.
func (f *faults) applyToken(w *world, r *http.Request, endpoint string, form url.Values, real func() reply) reply {
	hubID := noted(r).hubID
	rule, ok := take(f, &f.token, func(t *TokenRule) bool {
		return cmp.Or(t.Endpoint, endpointToken) == endpoint && (t.GrantType == "" || t.GrantType == form.Get("grant_type")) &&
			(t.ClientID == "" || t.ClientID == form.Get("client_id")) &&
			(t.HubID == 0 || t.HubID == hubID)
	})
	if !ok {
		return real()
	}
	w.stats.tokenFaults.Add(1)
	return rule.around(r.Context(), real, func() reply { return rule.answer(real) })
}

// applyAPI is applyToken for an authenticated API call.
func (f *faults) applyAPI(w *world, c *call, real func() reply) reply {
	rule, ok := take(f, &f.api, func(a *APIRule) bool {
		return (a.HubID == 0 || a.HubID == c.hubID()) &&
			(a.ClientID == "" || a.ClientID == c.token.app.ClientID) &&
			(a.Method == "" || strings.EqualFold(a.Method, c.Method)) &&
			strings.HasPrefix(c.URL.Path, a.PathPrefix)
	})
	if !ok {
		return real()
	}
	w.stats.apiFaults.Add(1)
	return rule.around(c.Context(), real, func() reply { return rule.answer(c, w.opts.Now(), real) })
}

// around waits and drops as the rule says; otherwise it returns the rule's
// answer, or the real one if the rule has none.
func (r *Rule) around(ctx context.Context, real, answer func() reply) reply {
	wait(ctx, r.delay)
	switch {
	case r.Drop == dropBefore:
		panic(http.ErrAbortHandler)
	case r.Drop == dropAfter:
		real()
		panic(http.ErrAbortHandler)
	case r.Answer == "":
		return real()
	}
	out := answer()
	if r.RetryAfter > 0 {
		out = out.with("Retry-After", strconv.Itoa(r.RetryAfter))
	}
	return out
}

// wait returns after d, or when the client has gone.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (r *TokenRule) answer(real func() reply) reply {
	switch r.Answer {
	case answerInvalidClient:
		return errBadClientSecret.reply()
	case answerInvalidGrant:
		return errBadRefreshToken.reply()
	case answerEmpty:
		out := real()
		out.body = nil
		return out
	case answerBrokenJSON:
		out := real()
		out.body = out.body[:len(out.body)/2]
		return out
	case answerRateLimited:
		return apiError{Message: "You have reached your secondly limit.", Category: "RATE_LIMITS"}.
			reply(http.StatusTooManyRequests, newCorrelationID())
	default:
		return r.Rule.common(newCorrelationID())
	}
}

func (r *APIRule) answer(c *call, now time.Time, real func() reply) reply {
	switch r.Answer {
	case answerUnauthorized:
		if r.Category == "INVALID_AUTHENTICATION" {
			return missingAuthentication(c.correlation)
		}
		return expiredAuthentication(c.correlation, now, now.Add(-time.Second))
	case answerRateLimited:
		return rateLimited(c, cmp.Or(r.Policy, policyRolling))
	case answerCutBody:
		out := real()
		out.cut = true
		return out
	default:
		return r.Rule.common(c.correlation)
	}
}

// common makes the answers that both kinds of rule have.
func (r *Rule) common(correlation string) reply {
	switch r.Answer {
	case answerLocked:
		return apiError{Message: "The resource is locked. Wait at least 2 seconds."}.
			reply(http.StatusLocked, correlation)
	case answerMigration:
		out := apiError{Message: "This account is being moved to another data center."}.
			reply(statusMigration, correlation)
		return out.with("Retry-After", "3600")
	case answerGateway:
		status := cmp.Or(r.Status, http.StatusBadGateway)
		page := fmt.Sprintf("<html><head><title>%d</title></head><body><h1>Error %d</h1>The HubSpot sandbox plays a broken edge.</body></html>", status, status)
		return reply{status: status, body: []byte(page)}.with("Content-Type", "text/html; charset=UTF-8")
	default:
		return apiError{Message: "internal error"}.
			reply(cmp.Or(r.Status, http.StatusInternalServerError), correlation)
	}
}

// statusMigration is HubSpot's own status for an account that is moving to
// another data centre.
const statusMigration = 477
