package relay

import (
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sunset"
)

// noteEnding counts the call if HubSpot ends its endpoint, and has the header of
// the answer say so where that is wanted.
func (c *Call) noteEnding(header http.Header) {
	e := sunset.Near(c.target.path, c.since)
	if e == nil {
		return
	}
	c.relay.Metrics.Endings.Called(c.relay.App.Name, c.callerName(), e, c.since, c.relay.Logger)
	if c.relay.DeprecationHeaders {
		e.Announce(header)
	}
}
