package caddymodule

import (
	"net/http"
	"strconv"
	"strings"
)

// Headers of the sidecar, in Go's canonical spelling, which is that of the
// keys of a header map.
const (
	headerUser        = "X-Hubspot-User"
	headerMaxWait     = "X-Hubspot-Max-Wait"
	headerPriority    = "X-Hubspot-Priority"
	headerPortal      = "X-Hubspot-Portal"
	headerProxyStatus = "Proxy-Status"
)

// staysHere reports whether a header of a request, by its canonical name, is
// meant for the sidecar or tells of the way to it, so that HubSpot does not
// get it. Hop-by-hop headers are gone by now, but for TE: reverse_proxy
// removes them.
func staysHere(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Forwarded", "Via", "Te", headerUser, headerMaxWait, headerPriority:
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// outbound returns the request that goes to HubSpot: a copy of r, because r
// is logged after it was sent. The body and the trailers, which come after
// the body, are those of r.
func (c *call) outbound(r *http.Request) *http.Request {
	up := new(http.Request)
	*up = *r
	up.URL = c.target.url(c.proxy.api.scheme, c.proxy.api.host)
	up.Host = c.proxy.api.host
	up.Header = make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		if !staysHere(name) && name != c.proxy.user.header {
			up.Header[name] = values
		}
	}
	up.Header["Authorization"] = []string{"Bearer " + c.token.Access.Reveal()}
	return up
}

// finishResponse makes HubSpot's answer the caller's.
func (c *call) finishResponse(res *http.Response) {
	c.answered = true
	// Cookies are those of HubSpot's edge; they must not travel between
	// customers.
	delete(res.Header, "Set-Cookie")
	delete(res.Header, "Set-Cookie2")
	if c.token.HubID != 0 {
		res.Header[headerPortal] = []string{strconv.FormatInt(c.token.HubID, 10)}
	}
	res.Header[headerProxyStatus] = append(res.Header[headerProxyStatus], receivedStatus(res.StatusCode, c.tries))
}

// receivedStatus is the Proxy-Status of an answer that came from HubSpot
// (RFC 9209).
func receivedStatus(status, tries int) string {
	const longest = `caddy-hubspot; received-status=200; details="tries=10"`
	b := make([]byte, 0, len(longest))
	b = append(b, "caddy-hubspot; received-status="...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `; details="tries=`...)
	b = strconv.AppendInt(b, int64(tries), 10)
	return string(append(b, '"'))
}
