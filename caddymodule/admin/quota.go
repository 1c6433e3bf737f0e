package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// quotas serves everything below /hubspot/quota/.
func quotas(_ context.Context, r *http.Request) (int, any, error) {
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	name, portal, err := quotaPath(r)
	if err != nil {
		return 0, nil, err
	}
	app, ok := s.App(name)
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", name)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		app.Limiter.Reset(portal)
	default:
		return 0, nil, failure(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET or DELETE", r.Method)
	}
	states := app.Limiter.States(portal)
	if len(states) == 0 && portal != 0 {
		return 0, nil, failure(http.StatusNotFound, "nothing is known of portal %d: the app %q has sent nothing to it lately", portal, app.Name)
	}
	list := adminapi.QuotaList{App: app.Name, Quotas: make([]adminapi.PortalQuota, 0, len(states))}
	for _, state := range states {
		list.Quotas = append(list.Quotas, portalQuota(state, time.Now()))
	}
	return http.StatusOK, list, nil
}

// quotaPath reads /hubspot/quota/<app>[/<portal>]. No portal is 0.
func quotaPath(r *http.Request) (app string, portal int64, err error) {
	app, text, more := strings.Cut(strings.TrimPrefix(r.URL.Path, adminapi.Quota+"/"), "/")
	if !more || text == "" {
		return app, 0, nil
	}
	if portal, err = strconv.ParseInt(text, 10, 64); err != nil || portal < 1 {
		return "", 0, failure(http.StatusBadRequest, "the path is not /hubspot/quota/<app>/<portal>: %s is not the number of a portal", apierror.Quoted(text))
	}
	return app, portal, nil
}

func portalQuota(s quota.State, now time.Time) adminapi.PortalQuota {
	q := adminapi.PortalQuota{
		HubID: s.HubID, Quota: "burst", Limit: s.Rate.Count, WindowSeconds: s.Rate.Per.Seconds(),
		Used: s.Used, Left: s.Left, Waiting: s.Waiting, Shared: s.Shared,
	}
	if s.Limit == hubspot.SearchLimit {
		q.Quota = "search"
	}
	if s.ClosedFor > 0 || s.Probing {
		q.ClosedUntil = now.Add(s.ClosedFor).UTC().Truncate(time.Millisecond)
		q.ClosedBecause = closedBecause(s)
	}
	return q
}

// closedBecause says why nothing is sent. The name of a limit is HubSpot's, or
// that of a box in between, so it is quoted.
func closedBecause(s quota.State) string {
	text := "HubSpot answered 429"
	if s.Said.Policy != "" {
		text += " for the limit " + apierror.Quoted(s.Said.Policy)
	}
	if s.Said.RetryAfter > 0 {
		text += " with a Retry-After of " + s.Said.RetryAfter.String()
	}
	if s.Probing {
		text += "; one request each minute finds out whether it is still so"
	}
	return text
}
