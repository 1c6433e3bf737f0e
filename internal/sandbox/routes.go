package sandbox

import (
	"net/http"
	"strings"
)

// handler answers one request; it must not write to the client itself.
type handler func(r *http.Request) reply

// methods are the handlers of one path.
type methods map[string]handler

// routes lists every path. A path's text is also its name in the statistics.
func (w *world) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, m methods) {
		mux.HandleFunc(pattern, w.endpoint(strings.TrimSuffix(pattern, "{$}"), m))
	}
	w.routeOAuth(handle)
	w.routeCRM(handle)
	w.routeControl(handle)
	mux.HandleFunc("/", w.endpoint("(unknown path)", nil))
	return mux
}

func (w *world) routeOAuth(handle func(string, methods)) {
	authorize := methods{http.MethodGet: w.authorize, http.MethodPost: w.consent}
	handle("/oauth/authorize", authorize)
	handle("/oauth/{hubId}/authorize", authorize)
	handle("/oauth/{version}/token", methods{http.MethodPost: w.dated(w.token)})
	handle("/oauth/{version}/token/introspect", methods{http.MethodPost: w.dated(w.introspect)})
	handle("/oauth/{version}/token/revoke", methods{http.MethodPost: w.dated(w.revoke)})
	handle("/oauth/v1/token", methods{http.MethodPost: w.legacy(w.token)})
	handle("/oauth/v1/access-tokens/{token}", methods{http.MethodGet: w.legacy(w.accessTokenInfo)})
	handle("/oauth/v1/refresh-tokens/{token}", methods{
		http.MethodGet:    w.legacy(w.refreshTokenInfo),
		http.MethodDelete: w.legacy(w.deleteRefreshToken),
	})
}

func (w *world) routeCRM(handle func(string, methods)) {
	handle("/appinstalls/{version}/external-install", methods{
		http.MethodDelete: w.api(anyScope("oauth"), w.uninstall),
	})
	handle("/account-info/{version}/details", methods{http.MethodGet: w.api(anyScope("oauth"), w.accountDetails)})
	for _, prefix := range []string{"/crm/objects/{version}/{type}", "/crm/v3/objects/{type}"} {
		handle(prefix, methods{
			http.MethodGet:  w.api(readScope, w.listObjects),
			http.MethodPost: w.api(writeScope, w.createObject),
		})
		handle(prefix+"/{id}", methods{
			http.MethodGet:    w.api(readScope, w.getObject),
			http.MethodPatch:  w.api(writeScope, w.updateObject),
			http.MethodDelete: w.api(writeScope, w.archiveObject),
		})
		handle(prefix+"/search", methods{http.MethodPost: w.searchAPI(readScope, w.searchObjects)})
		handle(prefix+"/batch/read", methods{http.MethodPost: w.api(readScope, w.batchRead)})
		handle(prefix+"/batch/create", methods{http.MethodPost: w.api(writeScope, w.batchCreate)})
		handle(prefix+"/batch/update", methods{http.MethodPost: w.api(writeScope, w.batchUpdate)})
		handle(prefix+"/batch/upsert", methods{http.MethodPost: w.api(writeScope, w.batchUpsert)})
		handle(prefix+"/batch/archive", methods{http.MethodPost: w.api(writeScope, w.batchArchive)})
	}
}

func (w *world) routeControl(handle func(string, methods)) {
	handle("/{$}", methods{http.MethodGet: w.index})
	handle("/_sandbox", methods{http.MethodGet: w.index})
	handle("/_sandbox/faults", methods{
		http.MethodGet:    w.control(w.getFaults),
		http.MethodPost:   w.control(w.postFaults),
		http.MethodDelete: w.control(w.deleteFaults),
	})
	handle("/_sandbox/stats", methods{http.MethodGet: w.control(w.getStats)})
	handle("/_sandbox/reset", methods{http.MethodPost: w.control(w.postReset)})
}

// isOAuthVersion reports whether /oauth/{version}/token exists; v1 has routes
// of its own.
func isOAuthVersion(v string) bool { return v == "v3" || isDated(v) }

// isDated reports whether v is one of the date-based API versions.
func isDated(v string) bool { return v == "2026-03" || v == "2026-09" }

// dated lets a handler answer under the known versions only.
func (w *world) dated(h handler) handler {
	return func(r *http.Request) reply {
		if !isOAuthVersion(r.PathValue("version")) {
			return notFound(newCorrelationID())
		}
		return h(r)
	}
}

// legacy counts the use of an API version that HubSpot is about to remove.
func (w *world) legacy(h handler) handler {
	return func(r *http.Request) reply {
		w.stats.legacyV1.Add(1)
		return h(r)
	}
}
