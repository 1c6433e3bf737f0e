package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	caddy.RegisterModule(Transport{})
}

// Transport takes requests that the handler `hubspot_proxy` has let through
// to HubSpot, with the access token of the user they are for. The token is
// put on a copy of the request, so that no log of Caddy's sees it.
//
// It has the settings of the transport `http`, with these differences:
// `response_header_timeout` is 100 seconds if not set, which is how long
// HubSpot's edge waits for HubSpot; `expect_continue_timeout` is 1 second and
// the time for a TLS handshake 10 seconds if not set; `versions` are 1.1 and
// 2. `compression`, `proxy_protocol`, and the TLS settings
// `insecure_skip_verify`, `server_name` and `except_ports` cannot be used.
//
// Should HubSpot send the access token back, in a header or a trailer, in
// JSON, or in an error, the field is removed or the token in the body replaced
// by asterisks. For that, requests to paths that smell of credentials, such as
// `/…/tokens`, ask for no other codings than gzip and deflate.
//
// Requests go to the API that the global option `hubspot` names under
// `endpoints`, whatever the upstream of the `reverse_proxy` is.
type Transport struct {
	*reverseproxy.HTTPTransport
}

const (
	// defaultResponseHeaderTimeout is what HubSpot's edge allows HubSpot
	// before it answers 524 itself.
	defaultResponseHeaderTimeout = 100 * time.Second
	// defaultContinueTimeout is how long the body of a request with
	// "Expect: 100-continue" waits for HubSpot to say that it wants it.
	defaultContinueTimeout = time.Second
	// defaultHandshakeTimeout bounds a TLS handshake.
	defaultHandshakeTimeout = 10 * time.Second
)

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.hubspot",
		New: func() caddy.Module { return newTransport() },
	}
}

func newTransport() *Transport {
	return &Transport{HTTPTransport: new(reverseproxy.HTTPTransport)}
}

// Provision sets the defaults and makes the connection pool.
func (t *Transport) Provision(ctx caddy.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.ResponseHeaderTimeout == 0 {
		t.ResponseHeaderTimeout = caddy.Duration(defaultResponseHeaderTimeout)
	}
	if t.ExpectContinueTimeout == 0 {
		t.ExpectContinueTimeout = caddy.Duration(defaultContinueTimeout)
	}
	if t.TLS == nil {
		t.TLS = new(reverseproxy.TLSConfig)
	}
	if t.TLS.HandshakeTimeout == 0 {
		t.TLS.HandshakeTimeout = caddy.Duration(defaultHandshakeTimeout)
	}
	// Go's transport would ask for gzip in the caller's name and decode it.
	t.Compression = new(bool)
	if err := t.HTTPTransport.Provision(ctx); err != nil {
		return err
	}
	dial := t.HTTPTransport.Transport.DialContext
	t.HTTPTransport.Transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(withoutUpstream{ctx}, network, address)
	}
	return nil
}

// withoutUpstream hides the address of the reverse_proxy's upstream from the
// dialer of the http transport, which would prefer it to the URL's.
type withoutUpstream struct{ context.Context }

func (c withoutUpstream) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(reverseproxy.DialInfo); ok {
		return nil
	}
	return value
}

// check refuses the settings with which requests would not reach HubSpot as
// the caller sent them, or reach somebody else.
func (t *Transport) check() error {
	if t.Compression != nil && *t.Compression {
		return errors.New("compression: leave it out: what callers did not ask for is not asked of HubSpot")
	}
	if t.ProxyProtocol != "" {
		return errors.New("proxy_protocol: leave it out: HubSpot does not speak it")
	}
	for _, version := range t.Versions {
		if !slices.Contains([]string{"1.1", "2"}, version) {
			return fmt.Errorf("versions: %q: there are 1.1 and 2", version)
		}
	}
	switch {
	case t.TLS == nil:
		return nil
	case t.TLS.InsecureSkipVerify:
		return errors.New("tls_insecure_skip_verify: leave it out: access tokens would go to whoever answers; name the CA with tls_trust_pool")
	case t.TLS.ServerName != "":
		return errors.New("tls_server_name: leave it out: the name is that of the endpoint api in the global option hubspot")
	case len(t.TLS.ExceptPorts) > 0:
		return errors.New("tls_except_ports: leave it out: the endpoint api in the global option hubspot says whether there is TLS")
	}
	return nil
}

// RequestHeaderOps returns nothing: the Host is set with the token.
func (t *Transport) RequestHeaderOps() *headers.HeaderOps { return nil }

var errWithoutGuard = errors.New("the transport hubspot works behind the handler hubspot_proxy only, which says who calls and for whom")

// RoundTrip sends a request to HubSpot. An error of its own stays with the
// call, whose handler answers it.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r.Context())
	if c == nil {
		closeBody(r)
		return nil, caddyhttp.Error(http.StatusInternalServerError, errWithoutGuard)
	}
	c.failure = nil
	res, err := t.roundTrip(c, r)
	if err != nil {
		return nil, c.fail(r.Context(), err)
	}
	c.receive(res)
	return res, nil
}

// send makes one try.
func (t *Transport) send(c *call, up *http.Request) (got try) {
	c.connected = false
	c.tries++
	c.leave()
	got.res, got.err = t.HTTPTransport.Transport.RoundTrip(up) //nolint:bodyclose // whoever takes the try closes it, or discards it
	got.connected = c.connected
	c.enter()
	if got.err == nil && got.res.StatusCode == http.StatusSwitchingProtocols {
		_ = got.res.Body.Close()
		got.res, got.err = nil, errSwitched
	}
	return got
}

var errSwitched = errors.New("HubSpot switched protocols without being asked")

// closeBody does what [http.RoundTripper] asks of one that does not send the
// request.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// Interface guards
var (
	_ caddy.Provisioner                      = (*Transport)(nil)
	_ caddy.CleanerUpper                     = (*Transport)(nil)
	_ http.RoundTripper                      = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
)
