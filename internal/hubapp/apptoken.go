package hubapp

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// errNoAppScopes means that the app's settings name no scope for a token of its
// own. HubSpot would refuse to give one.
var errNoAppScopes = errors.New("the setting app_scopes names no scope")

// AppToken returns the app's own token, with the scopes of its settings. Its
// errors are for [App.AppTokenError].
func (a *App) AppToken(ctx context.Context) (connection.Token, error) {
	if len(a.Settings.AppScopes) == 0 {
		return connection.Token{}, errNoAppScopes
	}
	return a.Manager.AppToken(ctx, a.Settings.AppScopes)
}

// AppTokenRejected is [connection.Manager.AppTokenRejected] for that token.
func (a *App) AppTokenRejected(ctx context.Context, refused connection.Token) (connection.Token, error) {
	return a.Manager.AppTokenRejected(ctx, a.Settings.AppScopes, refused)
}

// AppTokenError maps an error of AppToken to an answer.
func (a *App) AppTokenError(err error) *apierror.Error {
	if own, ok := errors.AsType[*apierror.Error](err); ok {
		return own
	}
	kind, message := explainAppToken(err)
	e := apierror.Wrap(kind, message, err)
	e.Context = map[string][]string{"app": {a.Name}}
	if held, ok := errors.AsType[*connection.HeldBack](err); ok && e.RetryAfter > 0 {
		e.RetryAfter = max(e.RetryAfter, held.RetryAfter)
	}
	return e
}

func explainAppToken(err error) (apierror.SubCategory, string) {
	refusal, refused := errors.AsType[*hubspot.TokenError](err)
	switch {
	case errors.Is(err, errNoAppScopes):
		return apierror.AppMisconfigured, "This app has no token of its own: its setting app_scopes names no scope. An operator has to name those that the call needs, such as developer.webhooks_journal.read."
	case errors.Is(err, connection.ErrAppMisconfigured):
		return apierror.AppMisconfigured, "HubSpot refuses the app's own credentials, and no valid token of the app is left. An operator has to look at client_id and client_secret."
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrDenied):
		return apierror.StoreUnavailable, "The app's credentials are not known here yet, and the store that keeps them does not give them. Try again soon."
	case refused && refusal.Class == hubspot.ClassConnection:
		return apierror.TokenUnavailable, fmt.Sprintf("HubSpot gives the app no token of its own, and says %s. An operator has to look at app_scopes, and at what HubSpot says.", Said(refusal))
	}
	return apierror.TokenUnavailable, "There is no valid token of the app at the moment and HubSpot gave no new one. Try again soon."
}
