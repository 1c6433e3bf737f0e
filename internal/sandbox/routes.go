package sandbox

import (
	"net/http"
	"slices"
	"strings"
)

// handler answers one request; it must not write to the client itself.
type handler func(r *http.Request) reply

// methods are the handlers of one path.
type methods map[string]handler

// serve runs the handler for the method.
func (m methods) serve(r *http.Request) reply {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h, ok := m[method]; ok {
		return h(r)
	}
	allowed := slices.DeleteFunc([]string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete},
		func(method string) bool { return m[method] == nil })
	return apiError{Message: "HTTP 405 Method Not Allowed"}.
		reply(http.StatusMethodNotAllowed, newCorrelationID()).with("Allow", strings.Join(allowed, ", "))
}

// routes lists every path. A path's text is also its name in the statistics.
func (w *world) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, m methods) {
		mux.HandleFunc(pattern, w.endpoint(strings.TrimSuffix(pattern, "{$}"), m.serve))
	}
	w.routeOAuth(handle)
	w.routeCRM(handle)
	w.routeJournal(handle)
	w.routeControl(handle)
	mux.HandleFunc("/", w.unknownPath)
	return mux
}

func (w *world) unknownPath(rw http.ResponseWriter, r *http.Request) {
	w.endpoint("(unknown path)", func(*http.Request) reply { return notFound(newCorrelationID()) })(rw, r)
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
		http.MethodDelete: w.api(anyScope("oauth"), w.burst, w.uninstall),
	})
	handle("/account-info/{version}/details", methods{http.MethodGet: w.api(anyScope("oauth"), w.burst, w.accountDetails)})
	read := func(h apiHandler) handler { return w.api(readScope, w.burst, h) }
	write := func(h apiHandler) handler { return w.api(writeScope, w.burst, h) }
	for _, prefix := range []string{"/crm/objects/{version}/{type}", "/crm/v3/objects/{type}"} {
		handle(prefix, methods{
			http.MethodGet:  read(onTable((*call).listObjects)),
			http.MethodPost: write(onTable((*call).createObject)),
		})
		handle(prefix+"/{id}", methods{
			http.MethodGet:    read(onTable((*call).getObject)),
			http.MethodPatch:  write(onTable((*call).updateObject)),
			http.MethodDelete: write(onTable((*call).archiveObject)),
		})
		handle(prefix+"/search", methods{http.MethodPost: w.api(readScope, w.search, onTable((*call).searchObjects))})
		handle(prefix+"/batch/read", methods{http.MethodPost: read(batch((*call).batchRead))})
		handle(prefix+"/batch/create", methods{http.MethodPost: write(batch((*call).batchCreate))})
		handle(prefix+"/batch/update", methods{http.MethodPost: write(batch((*call).batchUpdate))})
		handle(prefix+"/batch/upsert", methods{http.MethodPost: write(batch((*call).batchUpsert))})
		handle(prefix+"/batch/archive", methods{http.MethodPost: write(batch((*call).batchArchive))})
	}
}

func (w *world) routeControl(handle func(string, methods)) {
	handle("/{$}", methods{http.MethodGet: w.index})
	handle("/_sandbox", methods{http.MethodGet: w.index})
	handle("/_sandbox/static-tokens", methods{http.MethodPost: w.control(w.postStaticToken)})
	handle("/_sandbox/faults", methods{
		http.MethodGet:    w.control(w.getFaults),
		http.MethodPost:   w.control(w.postFaults),
		http.MethodDelete: w.control(w.deleteFaults),
	})
	handle("/_sandbox/webhooks", methods{
		http.MethodGet: w.control(w.getWebhooks), http.MethodPost: w.control(w.postWebhooks),
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
