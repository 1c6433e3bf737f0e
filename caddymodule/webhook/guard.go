package webhook

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
)

func init() {
	caddy.RegisterModule(Guard{})
}

// verifiedVar is set on requests that a hubspot_webhook has verified.
const verifiedVar = "hubspot_webhook.verified"

// Guard removes the header `X-HubSpot-Verified` from requests that no
// `hubspot_webhook` has verified. The directive `hubspot_webhook` puts one behind
// itself, for the requests that its matcher leaves out: many apps take
// `/hubspot/webhooks/` for `/hubspot/webhooks`, and a matcher does not. Configs in
// JSON need it before the handler that goes to the app behind.
type Guard struct{}

// CaddyModule returns the Caddy module information.
func (Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_webhook_guard",
		New: func() caddy.Module { return new(Guard) },
	}
}

// ServeHTTP hands every request on.
func (*Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if verified, _ := caddyhttp.GetVar(r.Context(), verifiedVar).(bool); !verified {
		webhook.RemoveVerified(r)
	}
	return next.ServeHTTP(w, r)
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = (*Guard)(nil)
