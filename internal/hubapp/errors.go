package hubapp

import (
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// ConnectionError maps an error of the Manager to an answer about a user.
func (a *App) ConnectionError(user string, err error) *apierror.Error {
	if own, ok := errors.AsType[*apierror.Error](err); ok {
		return own
	}
	kind, message := explain(err)
	if own := staticMessages[kind]; a.Settings.Static && own != "" {
		message = own
	}
	e := apierror.Wrap(kind, message, err)
	e.Context = map[string][]string{"app": {a.Name}, "user": {user}}
	if held, ok := errors.AsType[*connection.HeldBack](err); ok && e.RetryAfter > 0 {
		e.RetryAfter = max(e.RetryAfter, held.RetryAfter)
	}
	return e
}

// staticMessages are for static apps, which users do not install.
var staticMessages = map[apierror.SubCategory]string{
	apierror.NotConnected:   "No token of the user's HubSpot account is here. An operator has to import one: caddy hubspot import.",
	apierror.ReauthRequired: "HubSpot no longer takes the token of the user's account: it was rotated or deleted. An operator has to import the new one: caddy hubspot import.",
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
	return apierror.TokenUnavailable, "There is no valid access token at the moment and " + whyNoToken(err)
}

// whyNoToken says what came in place of a new access token.
func whyNoToken(err error) string {
	refusal, ok := errors.AsType[*hubspot.TokenError](err)
	switch {
	case errors.Is(err, connection.ErrOtherPortal):
		return "HubSpot answered with that of another HubSpot account, which is not used. It is asked again; if it stays so, let the user install the app again."
	case !ok:
	case refusal.Class == hubspot.ClassConnection:
		return "HubSpot refuses this connection, and says " + Said(refusal) + ". It is asked again; if it stays so, an operator has to look at what it says."
	case refusal.InBetween:
		return "HubSpot was not reached: something between here and HubSpot answered, an egress proxy or HubSpot's edge. Try again soon; if it stays so, an operator has to look at what is in between."
	case refusal.Migrating:
		return "HubSpot is moving the account to another data centre. Try again later; it may take some hours."
	}
	return "HubSpot gave no new one. Try again soon."
}

// Said is what HubSpot said of one connection, for a message: its word, and its
// text as far as that may be shown.
func Said(refusal *hubspot.TokenError) string {
	if refusal.Message == "" {
		return refusal.Reason()
	}
	return fmt.Sprintf("%s (%q)", refusal.Reason(), refusal.Message)
}
