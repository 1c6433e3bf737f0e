package hubspot

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// revoke is one request to the revoke endpoint, which x/oauth2 does not know
// (RFC 7009). The field is named token, as in HubSpot's SDKs.
func (c *Client) revoke(ctx context.Context, clientID string, clientSecret, refreshToken secret.Text) error {
	form := url.Values{
		"client_id":       {clientID},
		"client_secret":   {clientSecret.Reveal()},
		"token":           {refreshToken.Reveal()},
		"token_type_hint": {"refresh_token"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoints.RevokeURL(), strings.NewReader(form.Encode()))
	if err != nil {
		return misconfigured("the revoke endpoint is not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	call := c.newCall(refreshToken, clientSecret)
	resp, err := call.client.Do(req)
	if err != nil {
		return c.tokenError(ctx, opRevoke, call, err)
	}
	defer resp.Body.Close()
	// A body cut short matters only for telling errors apart, and an
	// unreadable one is judged by its status.
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return c.tokenError(ctx, opRevoke, call, &oauth2.RetrieveError{Response: resp, Body: body})
}
