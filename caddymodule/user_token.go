package caddymodule

import (
	"context"
	"errors"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// tagApps indexes apps by the marks of their user tokens.
func tagApps(apps map[string]*hubApp) map[sealing.Tag]*hubApp {
	tagged := make(map[sealing.Tag]*hubApp, len(apps))
	for name, app := range apps {
		tagged[usertoken.Tag(name)] = app
	}
	return tagged
}

// authenticateToken finds the caller that a user token stands for: the one
// who issued it, as it is configured now, narrowed to what the token is for.
// The error is an [*apierror.Error].
func (a *App) authenticateToken(ctx context.Context, text string) (*access.Caller, error) {
	tag, _ := usertoken.TagOf(text)
	app, ok := a.tagged[tag]
	if !ok {
		return nil, invalidToken(usertoken.ErrMalformed)
	}
	sealer, err := app.tokenSealer(ctx)
	if err != nil {
		return nil, apierror.Wrap(apierror.StoreUnavailable,
			"The user token cannot be checked: the app's client credentials are in the store, which does not answer. Try again soon.", err)
	}
	token, err := sealer.Open(text, a.now())
	if err != nil {
		return nil, invalidToken(err)
	}
	issuer, ok := a.callers.ByName(token.Caller)
	if !ok {
		return nil, apierror.New(apierror.CallerUnauthenticated,
			"The caller that issued this user token is not in the sidecar's configuration any more.")
	}
	return issuer.Narrow(token.Scope()), nil
}

func invalidToken(err error) *apierror.Error {
	message := "The user token is not valid here."
	if errors.Is(err, usertoken.ErrExpired) {
		message = "The user token has expired. Ask its issuer for a new one."
	}
	return apierror.Wrap(apierror.CallerUnauthenticated, message, err)
}

// addTokenUser takes the user of a user token, if nothing else in the request
// has named one. Whoever that is, the policy has the last word.
func (c *call) addTokenUser() {
	if scope := c.caller.Scope(); scope != nil && c.user == "" {
		c.user = scope.User
	}
}

// tokenID names the user token of the call in logs; empty without one.
func (c *call) tokenID() string {
	if c.caller == nil {
		return ""
	}
	return tokenIDOf(c.caller)
}

// tokenIDOf is the id of the user token that a caller stands for; empty for
// one with a key.
func tokenIDOf(caller *access.Caller) string {
	if scope := caller.Scope(); scope != nil {
		return scope.TokenID
	}
	return ""
}
