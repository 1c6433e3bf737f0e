package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
)

// call is an authenticated call of an API.
type call struct {
	*http.Request
	correlation string
	token       accessToken
	// portal is the account that the token belongs to.
	portal *portal
	// changes are what webhooks tell of.
	changes []webhooks.Event
}

// apiHandler answers an authenticated call.
type apiHandler func(c *call) reply

// scopeRule says which scope a request needs; the empty scope stands for a
// request that no scope rule can judge, and lets the handler refuse it.
type scopeRule func(r *http.Request) string

func anyScope(scope string) scopeRule { return func(*http.Request) string { return scope } }

func readScope(r *http.Request) string { return objectScope(r, "read") }

func writeScope(r *http.Request) string { return objectScope(r, "write") }

func objectScope(r *http.Request, verb string) string {
	kind, ok := objectTypeNamed(r.PathValue("type"))
	if !ok {
		return ""
	}
	return "crm.objects." + kind.name + "." + verb
}

// api puts authentication, faults, the quota and the scope check in front of
// a handler.
func (w *world) api(scope scopeRule, limit *limiter, h apiHandler) handler {
	return func(r *http.Request) reply {
		c := &call{Request: r, correlation: newCorrelationID()}
		if version := r.PathValue("version"); version != "" && !isAPIVersion(r, version) {
			return notFound(c.correlation)
		}
		if refused, ok := w.authenticate(c); !ok {
			return refused
		}
		answer := w.faults.applyAPI(w, c, func() reply { return w.limited(c, scope, limit, h) })
		w.tell(c)
		w.stats.portalStatus(c.hubID(), answer.status)
		return answer.with(headerCorrelation, c.correlation)
	}
}

// isAPIVersion knows that account-info and appinstalls have a v3 beside the
// dated versions, while /crm/objects has dated versions only.
func isAPIVersion(r *http.Request, version string) bool {
	return isDated(version) || version == "v3" && !strings.HasPrefix(r.URL.Path, "/crm/")
}

// limited is the part of a call that comes after authentication and faults.
func (w *world) limited(c *call, scope scopeRule, limit *limiter, h apiHandler) reply {
	remaining, allowed := limit.take(c)
	if !allowed {
		w.stats.count(c.hubID(), limit.beyond)
	}
	var answer reply
	needed := scope(c.Request)
	switch {
	case !allowed && !w.opts.DisableQuota:
		answer = limit.refuse(c)
	case c.token.app.UserLevel && refusesUserLevel(c.Method, c.URL.Path):
		answer = userLevelRefused(c.correlation)
	case needed != "" && !slices.Contains(c.token.scopes, needed):
		answer = missingScope(c.correlation, needed)
	case c.portal == nil:
		// An app's own (client credentials) token reaches no account.
		answer = missingScope(c.correlation, "oauth")
	default:
		answer = h(c)
	}
	return limit.headers(answer, remaining)
}

// authenticate resolves the bearer token. If that fails, it returns HubSpot's
// answer and false.
func (w *world) authenticate(c *call) (reply, bool) {
	token, ok := bearer(c.Request)
	if !ok {
		return missingAuthentication(c.correlation), false
	}
	t, known, alive := w.auth.lookupAccess(token)
	now := w.opts.Now()
	switch {
	case !known:
		return expiredAuthentication(c.correlation, now, time.Unix(0, 0)), false
	case !alive:
		return missingAuthentication(c.correlation), false
	}
	c.token = t
	n := noted(c.Request)
	n.clientID = t.app.ClientID
	if t.grant != nil {
		c.portal = w.portals[t.grant.portal.HubID]
		n.hubID, n.grant = c.portal.HubID, t.grant.id
	}
	if !now.Before(t.expires) {
		answer := expiredAuthentication(c.correlation, now, t.expires)
		w.stats.portalStatus(c.hubID(), answer.status)
		return answer, false
	}
	return reply{}, true
}

// hubID is the portal's, or zero for a token without one.
func (c *call) hubID() int64 {
	if c.portal == nil {
		return 0
	}
	return c.portal.HubID
}

// bearer reads the Authorization header (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}
