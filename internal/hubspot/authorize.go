package hubspot

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/oauth2"
)

// AuthorizeRequest is what a user is asked for.
type AuthorizeRequest struct {
	// Scopes are the required scopes, and those of the app's conditionally
	// required ones that are wanted. At least one.
	Scopes []string
	// OptionalScopes are dropped by HubSpot where the account lacks them.
	OptionalScopes []string
	// State comes back with the code, as it is.
	State string
	// Verifier is the PKCE secret of this request, from [NewVerifier]; only
	// its hash goes into the link.
	Verifier string
}

// NewVerifier makes a PKCE verifier with 256 random bits (RFC 7636 4.1).
func NewVerifier() string { return oauth2.GenerateVerifier() }

// AuthorizeURL returns the link to HubSpot's consent page. The same request
// always gives the same link: parameters are sorted by name, every value is
// percent-encoded, and scopes are separated by %20, as HubSpot's
// documentation and SDKs have it.
func (c *Client) AuthorizeURL(ctx context.Context, req AuthorizeRequest) (string, error) {
	switch {
	case len(req.Scopes) == 0:
		return "", errors.New("building install link: no scopes: HubSpot wants at least oauth")
	case req.State == "":
		return "", errors.New("building install link: no state")
	case req.Verifier == "":
		return "", errors.New("building install link: no PKCE verifier")
	case c.RedirectURI == "":
		return "", errors.New("building install link: no redirect_uri")
	}
	creds, err := c.credentials(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(req.Verifier)}
	if len(req.OptionalScopes) > 0 {
		options = append(options, oauth2.SetAuthURLParam("optional_scope", strings.Join(req.OptionalScopes, " ")))
	}
	config := c.config(creds.ClientID, creds.Secret)
	config.Scopes = req.Scopes
	page, query, _ := strings.Cut(config.AuthCodeURL(req.State, options...), "?")
	// In a query made by url.Values a plus sign is always a space: a
	// literal one is %2B.
	return page + "?" + strings.ReplaceAll(query, "+", "%20"), nil
}
