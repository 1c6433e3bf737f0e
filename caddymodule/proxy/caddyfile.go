package proxy

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("hubspot_proxy", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("hubspot_proxy", httpcaddyfile.Before, "reverse_proxy")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	p := new(Proxy)
	return p, p.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	hubspot_proxy [<matcher>] <app> {
//	    user     <placeholder or constant>
//	    open
//	    max_wait <duration>
//	    one_host
//	    deprecation_headers
//
//	    transport http {
//	        <settings of the transport http>
//	    }
//	}
func (p *Proxy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if !d.NextArg() {
		return d.Err("hubspot_proxy: name the HubSpot app, as the global option hubspot does")
	}
	p.App = d.Val()
	if d.NextArg() {
		return d.Errf("hubspot_proxy: one app is all it takes; %q is too much", d.Val())
	}
	known := map[string]settings.Setting{
		"user": settings.Checked(settings.Text(&p.User), func() error {
			if _, err := settings.UserSource(p.User); err != nil {
				return fmt.Errorf("user: %w", err)
			}
			return nil
		}),
		"open":                settings.Flag(&p.Open),
		"max_wait":            settings.Duration(&p.MaxWait),
		"one_host":            settings.Flag(&p.OneHost),
		"deprecation_headers": settings.Flag(&p.DeprecationHeaders),
		"transport":           {Parse: p.parseTransport},
	}
	addRefused(known)
	return settings.Block(d, "hubspot_proxy", known)
}

// refuseInTransport finds settings of reverse_proxy that have no place here,
// written where they have none in Caddy either.
func refuseInTransport(d *caddyfile.Dispenser) error {
	d.Next() // the name of the transport
	for d.NextBlock(0) {
		if reason := refusal(d.Val()); reason != "" {
			return d.Errf("hubspot_proxy: transport: %s cannot be used: %s", d.Val(), reason)
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			continue // what a setting has in its own block is the setting's
		}
	}
	return nil
}

// parseTransport reads the settings of the transport http.
func (p *Proxy) parseTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() != "http" {
		return d.Err("hubspot_proxy: transport: only the settings of the transport http can be given, as in: transport http { dial_timeout 5s }")
	}
	own := d.NewFromNextSegment()
	if err := refuseInTransport(own); err != nil {
		return err
	}
	own.Reset()
	t := new(reverseproxy.HTTPTransport)
	if err := t.UnmarshalCaddyfile(own); err != nil {
		return fmt.Errorf("hubspot_proxy: transport: %w", err)
	}
	if err := checkTransport(t); err != nil {
		return d.Errf("hubspot_proxy: transport: %v", err)
	}
	p.TransportRaw = caddyconfig.JSONModuleObject(t, "protocol", "http", nil)
	return nil
}
