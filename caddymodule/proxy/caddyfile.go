package caddymodule

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func init() {
	httpcaddyfile.RegisterDirective("hubspot_proxy", parseProxy)
	httpcaddyfile.RegisterDirectiveOrder("hubspot_proxy", httpcaddyfile.Before, "reverse_proxy")
}

// parseProxy parses the directive hubspot_proxy:
//
//	hubspot_proxy [<matcher>] <app> {
//	    user     <placeholder or constant>
//	    open
//	    max_wait <duration>
//
//	    transport http {
//	        <settings of the transport http>
//	    }
//	    flush_interval   <duration>
//	    request_buffers  <size>
//	    response_buffers <size>
//	    header_up        <as in reverse_proxy>
//	    header_down      <as in reverse_proxy>
//	    @<name> …
//	    replace_status   <as in reverse_proxy>
//	    handle_response  <as in reverse_proxy>
//	    verbose_logs
//	}
//
// It becomes a route of the handler hubspot_proxy and a reverse_proxy with
// the transport hubspot.
func parseProxy(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name, which ExtractMatcherSet goes back to
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next()
	block := &proxyBlock{directive: h.Token(), transport: newTransport(), seen: make(map[string]bool)}
	if err := block.parse(h.Dispenser); err != nil {
		return nil, err
	}
	proxy, err := block.reverseProxy(h)
	if err != nil {
		return nil, err
	}
	route := caddyhttp.Route{HandlersRaw: []json.RawMessage{
		caddyconfig.JSONModuleObject(&block.guard, "handler", "hubspot_proxy", nil),
		caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil),
	}}
	if matchers != nil {
		route.MatcherSetsRaw = caddyhttp.RawMatcherSets{matchers}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// proxyBlock is a hubspot_proxy directive on its way to two handlers.
type proxyBlock struct {
	directive caddyfile.Token
	guard     Proxy
	transport *Transport
	// passed are the tokens of the subdirectives that reverse_proxy reads.
	passed []caddyfile.Token
	seen   map[string]bool
}

func (b *proxyBlock) parse(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("hubspot_proxy: name the HubSpot app, as the global option hubspot does")
	}
	b.guard.App = d.Val()
	if d.NextArg() {
		return d.Errf("hubspot_proxy: one app is all it takes; %q is too much", d.Val())
	}
	own := map[string]setting{
		"user":      textSetting(&b.guard.User),
		"open":      flagSetting(&b.guard.Open),
		"max_wait":  durationSetting(&b.guard.MaxWait),
		"transport": {parse: b.parseTransport},
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if b.seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("hubspot_proxy: %s is given twice", name)
		}
		b.seen[name] = true
		parse := b.pass
		if s, ok := own[name]; ok {
			parse = s.parse
		}
		if err := parse(d); err != nil {
			return err
		}
	}
	return b.checkUser(d)
}

// checkUser finds what is wrong with a constant user.
func (b *proxyBlock) checkUser(d *caddyfile.Dispenser) error {
	if _, err := newUserSource(b.guard.User); err != nil {
		return d.Errf("user: %v", err)
	}
	return nil
}

// What reverse_proxy knows and hubspot_proxy passes on to it. Named response
// matchers, which begin with @, are as well.
var (
	passedOn   = []string{"flush_interval", "request_buffers", "response_buffers", "header_up", "header_down", "replace_status", "handle_response", "verbose_logs"}
	repeatable = []string{"header_up", "header_down", "replace_status", "handle_response"}
)

// pass keeps a subdirective for reverse_proxy.
func (b *proxyBlock) pass(d *caddyfile.Dispenser) error {
	name := d.Val()
	if !slices.Contains(passedOn, name) && !strings.HasPrefix(name, "@") {
		if reason := refusedInProxy(name); reason != "" {
			return d.Errf("hubspot_proxy: %s cannot be used: %s", name, reason)
		}
		return d.Errf("hubspot_proxy: unknown subdirective %q; there are: max_wait, open, transport, user, %s", name, strings.Join(passedOn, ", "))
	}
	segment := d.NextSegment()
	if name == "header_up" && len(segment) > 1 {
		if reason := refusedHeaderUp(segment[1].Text); reason != "" {
			return d.Errf("hubspot_proxy: header_up %s cannot be used: %s", segment[1].Text, reason)
		}
	}
	b.passed = append(b.passed, segment...)
	return nil
}

// refusedInProxy says why a subdirective of reverse_proxy has no place here.
func refusedInProxy(name string) string {
	switch name {
	case "to", "dynamic":
		return "requests go to HubSpot's API, which the global option hubspot names under endpoints"
	case "method", "rewrite":
		return "callers' requests reach HubSpot as they were sent; use the directives method, rewrite or uri in front of it"
	case "trusted_proxies":
		return "HubSpot gets no X-Forwarded headers"
	case "stream_timeout", "stream_close_delay", "stream_buffer_size":
		return "HubSpot's API has no upgraded connections"
	case "proxy_status_name":
		return "the name in Proxy-Status is caddy-hubspot"
	case "fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count":
		return "there is one upstream, so there is no other to choose"
	}
	if strings.HasPrefix(name, "lb_") || strings.HasPrefix(name, "health_") {
		return "there is one upstream, so there is no other to choose"
	}
	return ""
}

// refusedHeaderUp says why a header cannot be set on the way to HubSpot.
func refusedHeaderUp(field string) string {
	name := strings.TrimLeft(field, "+-?>")
	switch {
	case strings.EqualFold(name, "Authorization"):
		return "it is the user's access token"
	case strings.EqualFold(name, "Host"):
		return "it is that of HubSpot's API"
	case staysHere(http.CanonicalHeaderKey(name)):
		return "HubSpot does not get this header"
	}
	return ""
}

// parseTransport reads the settings of the transport http into our own.
func (b *proxyBlock) parseTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() != "http" && d.Val() != "hubspot" {
		return d.Err("hubspot_proxy: transport: only the settings of the transport http can be given, as in: transport http { dial_timeout 5s }")
	}
	if err := b.transport.UnmarshalCaddyfile(d.NewFromNextSegment()); err != nil {
		return err
	}
	if err := b.transport.check(); err != nil {
		return d.Errf("hubspot_proxy: transport: %v", err)
	}
	return nil
}

// reverseProxy makes the second handler, of what was passed on and our own
// transport.
func (b *proxyBlock) reverseProxy(h httpcaddyfile.Helper) (*reverseproxy.Handler, error) {
	proxy := &reverseproxy.Handler{
		Upstreams: reverseproxy.UpstreamPool{{Dial: upstreamDial(h.Option("hubspot"))}},
	}
	tokens := []caddyfile.Token{b.directive}
	if len(b.passed) > 0 {
		tokens = append(tokens, b.mark("{"))
		tokens = append(tokens, b.passed...)
		end := b.passed[len(b.passed)-1]
		end.Line, end.Text = end.Line+1, "}"
		tokens = append(tokens, end)
	}
	if err := proxy.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	proxy.TransportRaw = caddyconfig.JSONModuleObject(b.transport, "protocol", "hubspot", nil)
	return proxy, nil
}

// mark is a token that stands where the directive does.
func (b *proxyBlock) mark(text string) caddyfile.Token {
	token := b.directive
	token.Text = text
	return token
}

// upstreamDial is the address of HubSpot's API as far as it is known before
// placeholders are replaced. The transport goes by the endpoint itself; this
// is for Caddy's logs and metrics.
func upstreamDial(option any) string {
	api := hubspot.DefaultAPI
	if app, ok := option.(httpcaddyfile.App); ok {
		var settings struct {
			Endpoints Endpoints `json:"endpoints"`
		}
		if json.Unmarshal(app.Value, &settings) == nil && settings.Endpoints.API != "" {
			api = settings.Endpoints.API
		}
	}
	if dial, ok := dialAddress(api); ok {
		return dial
	}
	dial, _ := dialAddress(hubspot.DefaultAPI)
	return dial
}

func dialAddress(api string) (string, bool) {
	u, err := url.Parse(api)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(api, "{}") {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), port != ""
}
