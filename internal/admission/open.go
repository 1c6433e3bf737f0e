package admission

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// CheckOpen refuses a request without a key that `open` is not for: one from
// another machine, and one that a browser sends because of another site. A
// page that somebody looks at must not be able to use a sidecar on localhost.
// ownName says whether the Host of a request is a name of the site, beside
// localhost and loopback addresses. The error is an [*apierror.Error].
func CheckOpen(r *http.Request, ownName func(*http.Request) bool) error {
	switch {
	case !isLocalPeer(r):
		return apierror.New(apierror.CallerUnauthenticated,
			"Without a caller key only programs on this machine are let in. Send a key, as Authorization: Bearer <key>.")
	case !isLoopbackName(r.Host) && !ownName(r):
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

// isLoopbackName reports whether a Host cannot be a name that somebody else has
// let point to this machine.
func isLoopbackName(hostport string) bool {
	host := strings.ToLower(hostOf(hostport))
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// hostOf takes the port, the brackets and the final dot off a Host.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// isUnixPeer reports whether a request came in by a unix socket.
func isUnixPeer(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && strings.HasPrefix(local.Network(), "unix")
}
