package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// ErrTokenRefused means that HubSpot does not take a static token: it was
// rotated or deleted, or never was one.
var ErrTokenRefused = errors.New("HubSpot does not take the token")

// StaticClient looks after the tokens of an app with static auth, and service
// keys: they have no refresh and no revoke endpoint, and HubSpot introspects
// none of them. Set the fields before the first call; it is then safe for
// concurrent use. The zero value is HubSpot.
type StaticClient struct {
	// HTTP and Endpoints are those of [Client].
	HTTP      *http.Client
	Endpoints Endpoints
}

// Check asks HubSpot for the account of a token. It returns 0 if HubSpot takes
// the token and does not let it see that. Errors wrap ErrTokenRefused, or are a
// *[TokenError] of ClassTransient.
func (c *StaticClient) Check(ctx context.Context, token secret.Text) (hubID int64, err error) {
	endpoints := c.Endpoints.WithDefaults()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoints.API+"/account-info/"+endpoints.Version+"/details", nil)
	if err != nil {
		return 0, misconfigured("the API endpoint is not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	oauth := &Client{HTTP: c.HTTP, Endpoints: c.Endpoints}
	call := oauth.newCall(token)
	resp, err := call.client.Do(req)
	if err != nil {
		return 0, oauth.tokenError(ctx, opIntrospect, call, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return 0, fmt.Errorf("asking HubSpot for the account: %w", ErrTokenRefused)
	case http.StatusForbidden:
		return 0, nil
	default:
		return 0, &TokenError{
			Class: ClassTransient, HTTPStatus: resp.StatusCode, detail: "asking for the account of a token",
			RetryAfter: retryAfter(resp.Header, oauth.now()),
		}
	}
	var account struct {
		PortalID any `json:"portalId"`
	}
	if json.Unmarshal(body, &account) != nil {
		return 0, brokenAnswer("the account of a token is cut short or not JSON")
	}
	hubID, ok := integer(account.PortalID)
	if !ok {
		return 0, brokenAnswer("the account of a token has no portalId")
	}
	return hubID, nil
}

// Refresh is refused: a static token has no other.
func (c *StaticClient) Refresh(context.Context, secret.Text) (Grant, error) {
	return Grant{}, errors.New("refreshing access token: the app is static")
}

// Revoke does nothing: HubSpot has no endpoint for it.
func (c *StaticClient) Revoke(context.Context, secret.Text) error { return nil }

// Uninstall is refused: the app is one account's own, where its token is made.
func (c *StaticClient) Uninstall(context.Context, secret.Text) error {
	return &UninstallError{Final: true, cause: errors.New("the app is static")}
}

// ErrNoCredentials means that an app is static, so that it has no client
// credentials.
var ErrNoCredentials = errors.New("the app is static: it has no client id and no client secret")

// NoCredentials is the [CredentialSource] of a static app.
type NoCredentials struct{}

// Credentials fails with ErrNoCredentials.
func (NoCredentials) Credentials(context.Context) (Credentials, error) {
	return Credentials{}, ErrNoCredentials
}
