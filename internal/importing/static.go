package importing

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

// decideStatic is decide for a static app. Which account a token is of, HubSpot
// says if the token may read that; otherwise, and while HubSpot is away, the
// record has to say it: limits count by account.
func (i *Importer) decideStatic(ctx context.Context, r importfile.Record, o Options) (Result, error) {
	if r.Token.IsZero() {
		return refuse(importfile.FieldRefreshToken, "the app %s is a static app: give its token as token", i.App.Name), nil
	}
	wanted := connection.Import{
		User: r.User, HubID: r.HubID, Static: true, AccessToken: r.Token, Scopes: r.Scopes,
		IssuedAt: i.now(), Overwrite: o.Overwrite,
	}
	if goes, err := i.App.Manager.CanImport(ctx, wanted); !goes {
		return standing(err)
	}
	var hubID int64
	err := i.App.Manager.InTurn(ctx, func(ctx context.Context) (err error) {
		hubID, err = i.App.Static().Check(ctx, r.Token)
		return err
	})
	switch {
	case errors.Is(err, hubspot.ErrTokenRefused):
		return refuse(importfile.FieldToken, "HubSpot does not take it: it was rotated or deleted, or is cut short"), nil
	case err != nil && (ctx.Err() != nil || r.HubID == 0):
		return Result{}, fmt.Errorf("%w: %w", ErrHubSpotAway, err)
	case hubID == 0 && r.HubID == 0:
		return refuse(importfile.FieldHubID, "is missing, and the token may not read which account it is of"), nil
	case hubID != 0 && r.HubID != 0 && hubID != r.HubID:
		return refuse(importfile.FieldHubID, "is %d, and HubSpot says that the token is of account %d", r.HubID, hubID), nil
	case hubID != 0:
		wanted.HubID = hubID
	}
	return i.store(ctx, wanted, o)
}
