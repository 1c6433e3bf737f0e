package admission

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// authenticateToken finds the caller that a user token stands for: the one
// who issued it, as it is configured now, narrowed to what the token is for.
// The error is an [*apierror.Error].
func (d *Desk) authenticateToken(ctx context.Context, text string) (*access.Caller, error) {
	tag, _ := usertoken.TagOf(text)
	app, ok := d.tagged[tag]
	if !ok {
		return nil, invalidToken(usertoken.ErrMalformed)
	}
	sealer, err := app.TokenSealer(ctx)
	if err != nil {
		return nil, apierror.Wrap(apierror.StoreUnavailable,
			"The user token cannot be checked: the app's client credentials are in the store, which does not answer. Try again soon.", err)
	}
	now := d.now()
	sum := sha256.Sum256([]byte(text))
	if caller, ok := d.opened.get(sum, sealer, now); ok {
		return caller, nil
	}
	token, err := sealer.Open(text, now)
	if err != nil {
		return nil, invalidToken(err)
	}
	issuer, ok := d.callers.ByName(token.Caller)
	if !ok {
		return nil, apierror.New(apierror.CallerUnauthenticated,
			"The caller that issued this user token is not in the sidecar's configuration any more.")
	}
	caller := issuer.Narrow(token.Scope())
	d.opened.put(sum, openedToken{caller: caller, sealer: sealer, until: token.ExpiresAt}, now)
	return caller, nil
}

func invalidToken(err error) *apierror.Error {
	message := "The user token is not valid here."
	if errors.Is(err, usertoken.ErrExpired) {
		message = "The user token has expired. Ask its issuer for a new one."
	}
	return apierror.Wrap(apierror.CallerUnauthenticated, message, err)
}

// TokenID is the id of the user token that a caller stands for; empty for one
// with a key, and for nil.
func TokenID(caller *access.Caller) string {
	if caller == nil {
		return ""
	}
	if scope := caller.Scope(); scope != nil {
		return scope.TokenID
	}
	return ""
}
