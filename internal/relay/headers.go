package relay

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Headers of the sidecar, in Go's canonical spelling, which is that of the
// keys of a header map.
const (
	headerUser        = "X-Hubspot-User"
	headerMaxWait     = "X-Hubspot-Max-Wait"
	headerPriority    = "X-Hubspot-Priority"
	headerPortal      = "X-Hubspot-Portal"
	headerProxyStatus = "Proxy-Status"
	// headerCorrelationID is HubSpot's name for a request.
	headerCorrelationID = "X-Hubspot-Correlation-Id"
)

// staysHere reports whether a field of a request's header or trailer, by its
// canonical name, is meant for the sidecar or tells of the way to it, so that
// HubSpot does not get it. [httputil.ReverseProxy] removes the hop-by-hop ones.
func staysHere(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Forwarded", "Via", "Te", headerUser, headerMaxWait, headerPriority:
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// keepHere takes out of a header or trailer what HubSpot does not get.
func (c *Call) keepHere(header http.Header) {
	for name, values := range header {
		if staysHere(name) || name == c.relay.User.Header || values == nil {
			delete(header, name)
		}
	}
	if c.guard.suspicious {
		narrowCodings(header)
	}
}

// withToken returns a copy of a request with the access token.
func (c *Call) withToken(r *http.Request) *http.Request {
	token := c.token.Access.Reveal()
	c.guard.mask.add(token)
	up := r.WithContext(c.traced())
	up.Header = maps.Clone(r.Header)
	up.Header["Authorization"] = []string{"Bearer " + token}
	return up
}

// traced returns the context of a try. Without a connection nothing has left,
// whatever the error is. The proxy's own trace is left out: informational
// answers are passed on by the call.
func (c *Call) traced() context.Context {
	return httptrace.WithClientTrace(c.inbound.Context(), &httptrace.ClientTrace{
		GotConn:        func(httptrace.GotConnInfo) { c.connected = true },
		Got1xxResponse: c.inform,
	})
}

// staysThere reports whether a field of an answer's header or trailer is not
// for the client: cookies are those of HubSpot's edge and must not travel
// between customers, and the others speak of HubSpot's origin, not of ours.
func staysThere(name string) bool {
	switch name {
	case "Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "Service-Worker-Allowed", "Strict-Transport-Security":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-")
}

// varyOn names what chooses the user and the caller of a request. Where that
// is not a header alone, nothing but asking again is safe.
func varyOn(user userid.Source) string {
	switch {
	case user.Header != "":
		return "Authorization, " + headerText(user.Header)
	case user.Lookup != nil:
		return "*"
	}
	return "Authorization"
}

// receive moves the header of HubSpot's answer to ours. The proxy would copy
// each value; nobody else has these.
func receive(res *http.Response) error {
	c := callOf(res.Request.Context())
	out := c.answer.Header()
	for name, values := range res.Header {
		if !staysThere(name) && !c.guard.holdsToken(values) {
			out[name] = values
		}
	}
	c.relocate(out)
	if !strings.Contains(strings.Join(out["Cache-Control"], ","), "no-store") {
		out["Vary"] = append(out["Vary"][:len(out["Vary"]):len(out["Vary"])], c.relay.vary)
	}
	// The proxy looks for event streams, which it does not hold back.
	res.Header = http.Header{"Content-Type": out["Content-Type"]}
	delete(out, "Content-Type")
	return nil
}

// relocate puts a relative Location below the path prefix that names the user.
func (c *Call) relocate(header http.Header) {
	values := header["Location"]
	if c.prefix == "" || len(values) != 1 || !strings.HasPrefix(values[0], "/") || strings.HasPrefix(values[0], "//") {
		return
	}
	header["Location"] = []string{c.outerPrefix() + c.prefix + values[0]}
}

// outerPrefix is what handlers in front have taken off the path.
func (c *Call) outerPrefix() string {
	prefix, ok := strings.CutSuffix(originForm(c.sent), c.inbound.URL.EscapedPath())
	if !ok {
		return ""
	}
	return prefix
}

// describe adds to an answer whose it is and how it came about.
func (c *Call) describe(header http.Header) {
	if c.token.HubID != 0 {
		header[headerPortal] = []string{strconv.FormatInt(c.token.HubID, 10)}
	}
	header[headerProxyStatus] = append(header[headerProxyStatus], receivedStatus(c.received, c.tries))
}

// receivedStatus is the Proxy-Status of an answer that came from HubSpot
// (RFC 9209).
func receivedStatus(status, tries int) string {
	if status == http.StatusOK && tries == 1 {
		return `caddy-hubspot; received-status=200; details="tries=1"`
	}
	return "caddy-hubspot; received-status=" + strconv.Itoa(status) + `; details="tries=` + strconv.Itoa(tries) + `"`
}
