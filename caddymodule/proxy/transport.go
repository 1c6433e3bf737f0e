package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Defaults of the transport that are not those of Caddy's. There is one host
// with few addresses, so that what is idle is soon used again; see
// docs/performance.md for what was measured.
const (
	// defaultResponseHeaderTimeout is what HubSpot's edge allows HubSpot
	// before it answers 524 itself.
	defaultResponseHeaderTimeout = 100 * time.Second
	// defaultContinueTimeout is how long the body of a request with
	// "Expect: 100-continue" waits for HubSpot to say that it wants it.
	defaultContinueTimeout = time.Second
	// defaultHandshakeTimeout bounds a TLS handshake.
	defaultHandshakeTimeout = 10 * time.Second
	// defaultIdlePerHost is how many connections to HubSpot may be idle.
	defaultIdlePerHost = 256
	// streamBuffer is how many bytes of an HTTP/2 answer come before the client
	// has taken what is there: Go's own 4 MiB would be held for each slow one.
	streamBuffer = 1 << 20
)

// provisionTransport makes the connection pool of its settings, which are those
// of Caddy's HTTP transport.
func provisionTransport(ctx caddy.Context, raw json.RawMessage) (*reverseproxy.HTTPTransport, error) {
	t, err := parseTransport(raw)
	if err != nil {
		return nil, err
	}
	if err := checkTransport(t); err != nil {
		return nil, err
	}
	setDefaults(t)
	if err := t.Provision(ctx); err != nil {
		return nil, err
	}
	t.Transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer}
	return t, nil
}

// parseTransport reads the settings as they stand in a JSON config.
func parseTransport(raw json.RawMessage) (*reverseproxy.HTTPTransport, error) {
	t := new(reverseproxy.HTTPTransport)
	if raw == nil {
		return t, nil
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(raw, &settings); err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	if protocol := string(settings["protocol"]); protocol != `"http"` {
		return nil, errors.New("protocol: must be http: HubSpot is called with Caddy's HTTP transport")
	}
	delete(settings, "protocol")
	own, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	return t, caddy.StrictUnmarshalJSON(own, t)
}

// checkTransport refuses the settings with which requests would not reach
// HubSpot as the caller sent them, or reach somebody else.
func checkTransport(t *reverseproxy.HTTPTransport) error {
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

func setDefaults(t *reverseproxy.HTTPTransport) {
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
	if t.KeepAlive == nil {
		t.KeepAlive = new(reverseproxy.KeepAlive)
	}
	if t.KeepAlive.MaxIdleConnsPerHost == 0 {
		t.KeepAlive.MaxIdleConnsPerHost = defaultIdlePerHost
	}
	// Go's transport would ask for gzip in the caller's name and decode it.
	t.Compression = new(bool)
}
