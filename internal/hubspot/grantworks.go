package hubspot

import (
	"context"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// GrantWorks asks HubSpot whether a refresh token works, which does not use it.
// Errors are as those of Exchange.
func (c *Client) GrantWorks(ctx context.Context, refreshToken secret.Text) (bool, error) {
	answer, err := c.Introspect(ctx, refreshToken, KindRefreshToken)
	if Classify(err) == ClassDeadGrant {
		return false, nil
	}
	return answer.Active, err
}
