package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Headers of the sidecar, in Go's canonical spelling, which is that of the
// keys of a header map.
const (
	headerUser        = "X-Hubspot-User"
	headerAs          = "X-Hubspot-As"
	headerMaxWait     = "X-Hubspot-Max-Wait"
	headerPriority    = "X-Hubspot-Priority"
	headerPortal      = "X-Hubspot-Portal"
	headerReconnect   = "X-Hubspot-Reconnect"
	headerServedBy    = "X-Hubspot-Served-By"
	headerProxyStatus = "Proxy-Status"
	// headerCorrelationID is HubSpot's name for a request.
	headerCorrelationID = "X-Hubspot-Correlation-Id"
)

// staysHere reports whether a field of a request's header or trailer, by its
// canonical name, is meant for the sidecar or tells of the way to it, so that
// HubSpot does not get it. [httputil.ReverseProxy] removes the hop-by-hop ones.
func staysHere(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Forwarded", "Via", "Te", headerUser, headerAs, headerMaxWait, headerPriority:
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
		// A token that comes in two parts would be found in neither.
		delete(header, "Range")
		delete(header, "If-Range")
		// Nor in UTF-16.
		delete(header, "Accept-Charset")
	}
}

// keepTrailersHere takes out of a trailer what HubSpot does not get. The proxy
// looks at the header only.
func (c *Call) keepTrailersHere(trailer http.Header) {
	for name := range trailer {
		if staysHere(name) || name == c.relay.User.Header || isHopByHop(name) || slices.Contains(overrides[:], name) {
			delete(trailer, name)
		}
	}
}

// isHopByHop reports whether a field is between two neighbours (RFC 9110,
// 7.6.1), or says where or how much.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Http2-Settings", "Host", "Content-Length", "Expect":
		return true
	}
	return false
}

// sentAgainFor are headers for which Go's transport sends any request without a
// body again when its connection breaks. HubSpot is not known to heed them, and
// the transport not to know them in lower case.
var sentAgainFor = [...]string{"Idempotency-Key", "X-Idempotency-Key"}

// withToken returns a copy of a request with the access token.
func (c *Call) withToken(r *http.Request) *http.Request {
	token := c.token.Access.Reveal()
	c.guard.mask.add(token)
	up := r.WithContext(c.traced())
	if c.followed {
		up.URL, up.Host = c.target.url(c.api.scheme, c.api.host), c.api.host
	}
	up.Header = maps.Clone(r.Header)
	up.Header["Authorization"] = []string{"Bearer " + token}
	for _, name := range sentAgainFor {
		if values, ok := up.Header[name]; ok {
			delete(up.Header, name)
			up.Header[strings.ToLower(name)] = values
		}
	}
	return up
}

// traced returns the context of a try. Without a connection nothing has left,
// whatever the error is. The proxy's own trace is left out: informational
// answers are passed on by the call.
func (c *Call) traced() context.Context {
	ctx := c.inbound.Context()
	if c.body == nil && c.api.scheme == "https" {
		c.endTry(nil)
		ctx, c.cancelTry = context.WithCancelCause(ctx)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if c.connected && speaksHTTP2(info.Conn) {
				c.endTry(errUnprocessed)
			}
			c.connected = true
		},
		Got1xxResponse: c.inform,
	})
}

// errUnprocessed ends a try that Go's HTTP/2 transport would send again, because
// it was not processed: that is for roundTrip, which knows the quota, how long
// the caller waits and whether something is frozen. The transport looks at the
// context once more before it writes.
var errUnprocessed = errors.New("HubSpot's server refused the request before it was processed")

// endTry cancels the context of the try, if it has one of its own.
func (c *Call) endTry(cause error) {
	if c.cancelTry != nil {
		c.cancelTry(cause)
	}
}

func speaksHTTP2(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// staysThere reports whether a field of an answer's header or trailer is not
// for the client: cookies are those of HubSpot's edge and must not travel
// between customers, which portal it was is ours to say, and the others speak
// of HubSpot's origin, not of ours.
func staysThere(name string) bool {
	switch name {
	case "Set-Cookie", "Set-Cookie2", headerPortal, headerReconnect, headerServedBy, "Alt-Svc", "Clear-Site-Data", "Service-Worker-Allowed", "Strict-Transport-Security",
		"Accept-Ch", "Expect-Ct", "Nel", "Origin-Agent-Cluster", "Public-Key-Pins", "Report-To", "Reporting-Endpoints":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-")
}

// varyOn names what chooses the user and the caller of a request. Where that
// is not a header alone, nothing but asking again is safe.
func varyOn(user userid.Source) string {
	switch {
	case user.Header != "":
		return "Authorization, " + headerText(user.Header) + ", X-HubSpot-As"
	case user.Lookup != nil:
		return "*"
	}
	return "Authorization, X-HubSpot-As"
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
	c.relay.addVary(out)
	c.noteEnding(out)
	res.Header = nil
	if contentType := out["Content-Type"]; len(contentType) > 0 && strings.HasPrefix(contentType[0], "text/event-stream") {
		// The proxy does not hold back event streams, if it is told of them.
		res.Header = http.Header{"Content-Type": contentType}
		delete(out, "Content-Type")
	}
	return nil
}

// addVary says what chooses user and caller, where HubSpot lets the answer be
// kept: the same address is another customer's for another.
func (r *Relay) addVary(header http.Header) {
	for _, value := range header["Cache-Control"] {
		if strings.Contains(value, "no-store") {
			return
		}
	}
	if len(header["Vary"]) == 0 {
		header["Vary"] = r.vary
		return
	}
	header["Vary"] = append(slices.Clip(header["Vary"]), r.vary...)
}

// relocate puts a relative Location below the path prefix that names the user.
func (c *Call) relocate(header http.Header) {
	values := header["Location"]
	if c.prefix == "" || len(values) != 1 || strings.HasPrefix(values[0], "//") {
		return
	}
	location := values[0]
	if climbs(location) {
		location = c.resolve(location)
	}
	if strings.HasPrefix(location, "/") {
		header["Location"] = []string{c.outerPrefix() + c.prefix + location}
	}
}

// climbs reports whether the path of a reference has the segment .. in a
// spelling that clients know.
func climbs(reference string) bool {
	path, _, _ := strings.Cut(reference, "?")
	path, _, _ = strings.Cut(path, "#")
	return slices.Contains(strings.Split(dots.Replace(path), "/"), "..")
}

var dots = strings.NewReplacer("%2e", ".", "%2E", ".")

// resolve takes the dot segments out of a relative reference, which would lead
// out of the prefix. Others are as they were.
func (c *Call) resolve(reference string) string {
	rest := strings.IndexAny(reference, "?#")
	if rest < 0 {
		rest = len(reference)
	}
	base, err := url.Parse(c.target.path)
	if err != nil {
		base = &url.URL{Path: "/"}
	}
	path, err := url.Parse(dots.Replace(reference[:rest]))
	if err != nil || path.Scheme != "" || path.Host != "" {
		return reference
	}
	return base.ResolveReference(path).EscapedPath() + reference[rest:]
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
		c.values[0] = strconv.FormatInt(c.token.HubID, 10)
		header[headerPortal] = c.values[0:1:1]
	}
	if c.reconnect != "" {
		header[headerReconnect] = []string{c.reconnect}
	}
	if app := c.servedBy(); app != "" {
		header[headerServedBy] = []string{app}
	}
	c.values[1] = receivedStatus(c.received, c.tries, c.standIn.detail())
	if others := header[headerProxyStatus]; len(others) > 0 {
		header[headerProxyStatus] = append(slices.Clip(others), c.values[1])
	} else {
		header[headerProxyStatus] = c.values[1:2:2]
	}
}

// receivedStatus is the Proxy-Status of an answer that came from HubSpot
// (RFC 9209).
func receivedStatus(status, tries int, more string) string {
	if status == http.StatusOK && tries == 1 && more == "" {
		return `caddy-hubspot; received-status=200; details="tries=1"`
	}
	return "caddy-hubspot; received-status=" + strconv.Itoa(status) + `; details="tries=` + strconv.Itoa(tries) + more + `"`
}
