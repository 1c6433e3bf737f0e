package proxy

import (
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// siteNames knows the names that the sites of a server have.
type siteNames struct {
	// servers maps *caddyhttp.Server to its []caddyhttp.MatchHost.
	servers sync.Map
}

// has reports whether the Host of a request is a name of a site of the server
// that it came in by.
func (s *siteNames) has(r *http.Request) bool {
	for _, names := range s.of(r) {
		if ok, err := names.MatchWithError(r); ok && err == nil {
			return true
		}
	}
	return false
}

func (s *siteNames) of(r *http.Request) []caddyhttp.MatchHost {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	if names, ok := s.servers.Load(server); ok {
		return names.([]caddyhttp.MatchHost)
	}
	names, _ := s.servers.LoadOrStore(server, hostMatchers(server.Routes))
	return names.([]caddyhttp.MatchHost)
}

func hostMatchers(routes caddyhttp.RouteList) []caddyhttp.MatchHost {
	var found []caddyhttp.MatchHost
	for _, route := range routes {
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				if host, ok := matcher.(*caddyhttp.MatchHost); ok {
					found = append(found, *host)
				}
			}
		}
		for _, handler := range route.Handlers {
			if subroute, ok := handler.(*caddyhttp.Subroute); ok {
				found = append(found, hostMatchers(subroute.Routes)...)
			}
		}
	}
	return found
}
