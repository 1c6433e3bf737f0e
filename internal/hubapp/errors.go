package hubapp

import (
	"errors"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// ConnectionError maps an error of the Manager to an answer about a user.
func (a *App) ConnectionError(user string, err error) *apierror.Error {
	kind, message := explain(err)
	e := apierror.Wrap(kind, message, err)
	e.Context = map[string][]string{"app": {a.Name}, "user": {user}}
	if held, ok := errors.AsType[*connection.HeldBack](err); ok && e.RetryAfter > 0 {
		e.RetryAfter = max(e.RetryAfter, held.RetryAfter)
	}
	return e
}

// StoreError is for errors of the store that are about no user in particular.
func (a *App) StoreError(err error) *apierror.Error {
	message := "The connection store does not answer. Try again soon."
	if errors.Is(err, connection.ErrDenied) {
		message = "The connection store does not permit this. An operator has to look at the policy of the sidecar's login."
	}
	e := apierror.Wrap(apierror.StoreUnavailable, message, err)
	e.Context = map[string][]string{"app": {a.Name}}
	return e
}

// explanations are what errors of the Manager mean for a caller. The first that
// an error wraps counts.
var explanations = []struct {
	err     error
	kind    apierror.SubCategory
	message string
}{
	{connection.ErrNotConnected, apierror.NotConnected,
		"The user has not connected a HubSpot account to this app, or has disconnected it. Let the user install the app."},
	{connection.ErrReauthRequired, apierror.ReauthRequired,
		"HubSpot no longer accepts the user's grant: the app was uninstalled or its access revoked. Let the user install the app again."},
	{connection.ErrAppMisconfigured, apierror.AppMisconfigured,
		"HubSpot refuses the app's own credentials, and no valid access token is left. An operator has to look at client_id and client_secret."},
	{connection.ErrRefreshNeedsStore, apierror.StoreUnavailable,
		"The user's access token has run out, and a new one cannot be had safely while the connection store takes no writes. Try again soon."},
	{connection.ErrDenied, apierror.StoreUnavailable,
		"The connection is not known here yet and the connection store does not permit this sidecar to read or write it. An operator has to look at the policy of the sidecar's login."},
	{connection.ErrUnavailable, apierror.StoreUnavailable,
		"The connection is not known here yet and the connection store does not answer. Try again soon."},
	{connection.ErrCorrupt, apierror.StoreUnavailable,
		"The stored connection cannot be read. Let the user install the app again, or have an operator look at the store."},
}

func explain(err error) (apierror.SubCategory, string) {
	for _, e := range explanations {
		if errors.Is(err, e.err) {
			return e.kind, e.message
		}
	}
	return apierror.TokenUnavailable, "There is no valid access token at the moment and HubSpot gave no new one. Try again soon."
}
