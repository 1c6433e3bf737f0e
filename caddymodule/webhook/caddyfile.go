package webhook

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

func init() {
	httpcaddyfile.RegisterDirective("hubspot_webhook", parseWebhook)
	// Before what would answer the request, the blocks of handle included: an app
	// in one of those would otherwise get what nobody has verified.
	httpcaddyfile.RegisterDirectiveOrder("hubspot_webhook", httpcaddyfile.Before, "invoke")
}

// parseWebhook makes the route of a directive, and where the next handler gets what
// is verified, one behind it for what the matcher leaves out.
func parseWebhook(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	w := new(Webhook)
	if err := w.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	routes := h.NewRoute(matcher, w)
	if w.QueueRaw == nil && len(matcher) > 0 {
		routes = append(routes, h.NewRoute(nil, new(Guard))...)
	}
	return routes, nil
}

// UnmarshalCaddyfile reads the directive:
//
//	hubspot_webhook [<matcher>] <app> {
//	    public_url <url>
//	    signatures v1|v2|v3...
//	    queue      <module> {
//	        …
//	    }
//	    deliver    <url> {
//	        split    none|portal|event
//	        order    none|portal|object
//	        timeout  <duration>
//	        attempts <number>
//	    }
//	}
//
// Everything but the value of a placeholder is checked here, so that errors carry
// the line.
func (h *Webhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	directive := d.Token()
	if !d.AllArgs(&h.App) || h.App == "" {
		return d.Err("hubspot_webhook: give the app, as in: hubspot_webhook /hubspot/webhooks hbdev")
	}
	err := settings.Block(d, "hubspot_webhook", map[string]settings.Setting{
		"public_url": settings.Checked(settings.Text(&h.PublicURL), func() error {
			return literally(h.PublicURL, checkPublicURL)
		}),
		"signatures": settings.Checked(settings.List(&h.Signatures), func() error {
			_, err := parseVersions(h.Signatures)
			return err
		}),
		"queue":   {Parse: h.parseQueue},
		"deliver": {Parse: h.parseDeliver},
	})
	if err != nil {
		return err
	}
	if err := h.checkTogether(); err != nil {
		at := caddyfile.NewDispenser([]caddyfile.Token{directive})
		at.Next()
		return at.Errf("hubspot_webhook %s: %w", h.App, err)
	}
	return nil
}

// literally checks a value that has no placeholder in it.
func literally(value string, check func(string) error) error {
	if placeholder.In(value) {
		return nil
	}
	return check(value)
}

func (h *Webhook) parseQueue(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("queue: name the queue, as in: queue file")
	}
	name := d.Val()
	if _, err := caddy.GetModule(queueapi.Namespace + "." + name); err != nil {
		return d.Errf("queue: unknown queue %q; there are: %s", name, queueNames())
	}
	unmarshaler, err := caddyfile.UnmarshalModule(d, queueapi.Namespace+"."+name)
	if err != nil {
		return err
	}
	h.QueueRaw = caddyconfig.JSONModuleObject(unmarshaler, "type", name, nil)
	return nil
}

func queueNames() string {
	text := ""
	for _, module := range caddy.GetModules(queueapi.Namespace) {
		if text != "" {
			text += ", "
		}
		text += module.ID.Name()
	}
	return text
}

func (h *Webhook) parseDeliver(d *caddyfile.Dispenser) error {
	h.Deliver = new(Deliver)
	if !d.AllArgs(&h.Deliver.URL) {
		return d.Err("deliver: give one address, as in: deliver http://localhost:3000/hubspot-events")
	}
	if err := literally(h.Deliver.URL, checkURL); err != nil {
		return d.Errf("deliver: %w", err)
	}
	return settings.Block(d, "deliver", map[string]settings.Setting{
		"split": settings.Checked(settings.Text(&h.Deliver.Split), func() error { return checkSplit(h.Deliver.Split) }),
		"order": settings.Checked(settings.Text(&h.Deliver.Order), func() error { return checkOrder(h.Deliver.Order) }),
		"timeout": settings.Checked(settings.Duration(&h.Deliver.Timeout), func() error {
			return h.Deliver.checkNumbers()
		}),
		"attempts": {Parse: func(d *caddyfile.Dispenser) error {
			value, err := settings.OneArg(d)
			if err != nil {
				return err
			}
			h.Deliver.Attempts, err = strconv.Atoi(value)
			if err != nil || h.Deliver.Attempts < 1 {
				return d.Errf("attempts: %q is not a number above zero", value)
			}
			return nil
		}},
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Webhook)(nil)
