package relay

import (
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
)

// offerScopes adds the link with which the user grants what HubSpot has missed,
// to an answer that says so. The body of the answer is as it was afterwards.
func (c *Call) offerScopes(res *http.Response) {
	if c.asApp {
		return // what is missing is in the app's settings, not in a grant
	}
	text, _ := decodeContent(res.Header, holdBody(res))
	needed := hubspot.ReadMissingScopes(res.StatusCode, text)
	if len(needed) == 0 {
		return
	}
	c.reconnect = installlink.ForMore(c.inbound.Context(), c.relay.Desk, c.relay.App, c.caller, c.user, c.token.Scopes, needed)
}
