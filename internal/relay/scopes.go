package relay

import (
	"context"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
)

// learnScopes notes which scopes the call needed. Where HubSpot has missed some,
// it adds the link with which the user grants them; the body of the answer is as
// it was afterwards.
func (c *Call) learnScopes(res *http.Response) {
	switch {
	case c.asApp: // what it may do is in the app's settings, not in a grant
	case c.standIn.app != nil: // neither is it this app's, nor this user's
	case res.StatusCode == http.StatusForbidden:
		c.offerScopes(res)
	case res.StatusCode/100 == 2:
		c.relay.App.ScopeUse.Served(c.method, c.target.path, c.token.Scopes)
	}
}

// offerScopes is learnScopes for an answer that may say that some are missing.
func (c *Call) offerScopes(res *http.Response) {
	text, _ := decodeContent(res.Header, holdBody(res))
	needs := hubspot.ReadScopeNeeds(res.StatusCode, text)
	if len(needs) == 0 {
		return
	}
	// With the token known, the tag is too, without asking the store.
	tag := c.relay.App.Manager.Tag(context.Background(), c.user)
	c.relay.App.ScopeUse.Refused(c.method, c.target.path, c.token.Scopes, tag, needs)
	var needed []string
	for _, need := range needs {
		needed = append(needed, need.Scopes...)
	}
	c.reconnect = installlink.ForMore(c.inbound.Context(), c.relay.Desk, c.relay.App, c.caller, c.user, c.token.Scopes, needed)
}
