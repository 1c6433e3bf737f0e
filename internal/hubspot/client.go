package hubspot

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// Client calls HubSpot's OAuth endpoints for one app. Set the fields before
// the first call and leave them; it is then safe for concurrent use and must
// not be copied. The zero value is HubSpot without credentials: every call
// is refused.
type Client struct {
	// HTTP makes the calls; its transport and timeout are used, its
	// redirect policy and cookie jar are not. Nil is a client with a timeout
	// of 15 s.
	HTTP *http.Client
	// Endpoints say where HubSpot is.
	Endpoints Endpoints
	// Credentials are those of the app.
	Credentials CredentialSource
	// RedirectURI is the one registered with HubSpot to which users come
	// back.
	RedirectURI string
	// Now is the clock by which a Retry-After date is read when the answer
	// carries no Date; nil is time.Now.
	Now func() time.Time

	// SecretUsed, if not nil, is told of each client secret that HubSpot has
	// accepted, and for what. It must be quick and safe for concurrent use.
	SecretUsed func(secret.Text, secretuse.Purpose)

	// accepted is the client secret that HubSpot accepted last.
	accepted atomic.Pointer[acceptedSecret]
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
