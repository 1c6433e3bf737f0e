package caddymodule

import (
	"net/http"
	"net/http/httptrace"
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
	// Without a connection nothing has left, whatever the error is.
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { c.connected = true }}
	up := r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	up.URL = c.target.url(c.proxy.api.scheme, c.proxy.api.host)
	up.Host = c.proxy.api.host
	up.Header = c.endToEnd(r.Header)
	token := c.token.Access.Reveal()
	c.guard.mask.add(token)
	if c.guard.suspicious {
		narrowCodings(up.Header)
	}
	up.Header["Authorization"] = []string{"Bearer " + token}
	return up
}

// endToEnd returns the part of a header that HubSpot gets, with room for the
// token. The values are shared.
func (c *call) endToEnd(header http.Header) http.Header {
	type field struct {
		name   string
		values []string
	}
	// Knowing how many there are before the map is made is worth it.
	kept := make([]field, 0, 32)
	for name, values := range header {
		if len(values) > 0 && !staysHere(name) && name != c.proxy.user.header {
			kept = append(kept, field{name, values})
		}
	}
	out := make(http.Header, len(kept)+1)
	for _, f := range kept {
		out[f.name] = f.values
	}
	return out
}

// keepHere takes the caller's key and the user out of a header, so that they
// are in no log of reverse_proxy, and keeps it from making headers that would
// not go up: for it, a header that is there without a value is one not to be
// made. The transport has the last word on what goes up.
func (p *Proxy) keepHere(header http.Header) {
	delete(header, "Authorization")
	delete(header, p.user.header)
	for _, name := range [...]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"} {
		if _, ok := header[name]; !ok {
			header[name] = nil
		}
	}
}

// receive notes that HubSpot has answered.
func (c *call) receive(res *http.Response) {
	c.received = res.StatusCode
	if c.proxy.app.audit != nil {
		c.hubspotID = res.Header.Get(headerCorrelationID)
	}
	// Cookies are those of HubSpot's edge; they must not travel between
	// customers.
	delete(res.Header, "Set-Cookie")
	delete(res.Header, "Set-Cookie2")
	c.guard.scrub(res)
}

// describe adds to an answer whose it is and how it came about.
func (c *call) describe(header http.Header) {
	if c.token.HubID != 0 {
		header[headerPortal] = []string{strconv.FormatInt(c.token.HubID, 10)}
	}
	header[headerProxyStatus] = append(header[headerProxyStatus], receivedStatus(c.received, c.tries))
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
