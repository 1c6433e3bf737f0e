package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// checkOpen refuses a request without a key that `open` is not for: one from
// another machine, and one that a browser sends because of another site. A
// page that somebody looks at must not be able to use a sidecar on localhost.
func (p *Proxy) checkOpen(r *http.Request) *apierror.Error {
	switch {
	case !isLocalPeer(r):
		return apierror.New(apierror.CallerUnauthenticated,
			"Without a caller key only programs on this machine are let in. Send a key, as Authorization: Bearer <key>.")
	case !p.sites.isOwnHost(r):
		return apierror.New(apierror.CallerForbidden,
			"Without a caller key the Host has to be localhost, a loopback address or a name of this site.")
	case !isSameOrigin(r):
		return apierror.New(apierror.CallerForbidden,
			"Without a caller key a browser is let in from pages of this site only, and has to say that it comes from one.")
	}
	return nil
}

// isLocalPeer reports whether the connection comes from this machine. It is
// about the connection: headers that tell of a client behind it are not
// regarded.
func isLocalPeer(r *http.Request) bool {
	if isUnixPeer(r) {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// isSameOrigin reports whether a request comes from no browser, or from one
// that makes it for a page of the same site or for its user
// (https://www.w3.org/TR/fetch-metadata/, RFC 6454).
//
// Browsers say in Sec-Fetch-Site whose page it is, but old ones do not, nor
// does any to a site that is neither on TLS nor called localhost (Fetch
// Metadata, 2.2); and without CORS a GET has no Origin. So a browser that says
// nothing has to name a page of the site in Referer. A page cannot keep its
// browser from sending User-Agent.
func isSameOrigin(r *http.Request) bool {
	said := false
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return false
		}
		said = true
	}
	for _, name := range [...]string{"Origin", "Referer"} {
		for _, page := range r.Header[name] {
			if !isOriginOf(page, r) {
				return false
			}
			said = true
		}
	}
	return said || !isBrowser(r)
}

// isBrowser reports whether a request has the User-Agent of a browser, all of
// which begin alike.
func isBrowser(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// isOriginOf reports whether a page, or an origin, is of the site that r was
// sent to.
func isOriginOf(page string, r *http.Request) bool {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return u.Scheme == scheme && withPort(scheme, u.Host) == withPort(scheme, r.Host)
}

// withPort returns a host in lower case with its port.
func withPort(scheme, hostport string) string {
	hostport = strings.ToLower(hostport)
	if _, _, err := net.SplitHostPort(hostport); err == nil {
		return hostport
	}
	if scheme == "https" {
		return hostport + ":443"
	}
	return hostport + ":80"
}

// siteNames knows the names that the sites of a server have.
type siteNames struct {
	// servers maps *caddyhttp.Server to its []caddyhttp.MatchHost.
	servers sync.Map
}

// isOwnHost reports whether the Host of a request cannot be a name that
// somebody else has let point to this machine.
func (s *siteNames) isOwnHost(r *http.Request) bool {
	host := strings.ToLower(hostOf(r.Host))
	if host == "localhost" {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	for _, names := range s.of(r) {
		if ok, err := names.MatchWithError(r); ok && err == nil {
			return true
		}
	}
	return false
}

// hostOf takes the port, the brackets and the final dot off a Host.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// of returns the host matchers of the server that r came in by.
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
