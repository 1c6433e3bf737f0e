package hubspot

import (
	"context"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// revoke is one request to the revoke endpoint (RFC 7009).
func (c *Client) revoke(ctx context.Context, clientID string, clientSecret, refreshToken secret.Text) error {
	_, err := c.postAboutToken(ctx, opRevoke, c.Endpoints.RevokeURL(), clientID, clientSecret, refreshToken, KindRefreshToken)
	return err
}
