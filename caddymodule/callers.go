package caddymodule

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// authenticate finds the caller of a request: by its Authorization header if
// there is one, which then has to be right, or else by its certificate or its
// peer. The error is an [*apierror.Error].
func (a *App) authenticate(r *http.Request) (*access.Caller, error) {
	if a.callers == nil {
		return nil, apierror.New(apierror.CallerForbidden,
			"No caller is configured, so nobody can be let in here: name one, with its key, in the global option hubspot.")
	}
	if token, ok := access.UserToken(r.Header); ok {
		return a.authenticateToken(r.Context(), token)
	}
	caller, err := a.callers.Authenticate(r.Header)
	switch {
	case err == nil:
		return caller, nil
	case errors.Is(err, access.ErrNoCredentials):
		if caller, err := a.recognize(r); caller != nil || err != nil {
			return caller, err
		}
		return nil, apierror.Wrap(apierror.CallerUnauthenticated,
			"No caller key was given. Send it as Authorization: Bearer <key>; in an SDK, as the access token."+a.unrecognized(r), err)
	case errors.Is(err, access.ErrUnknownKey):
		if token, ok := bearerJWT(r.Header); ok && a.jwts != nil {
			return a.authenticateJWT(r.Context(), token)
		}
		return nil, apierror.Wrap(apierror.CallerUnauthenticated,
			"The caller key is not known here. It is the key of a caller in the sidecar's configuration, not a HubSpot token.", err)
	}
	return nil, apierror.Wrap(apierror.CallerUnauthenticated,
		"The Authorization header has to be Bearer <key> or Basic base64(caller:key), once.", err)
}

// policyError maps what a caller's policy says to an answer.
func policyError(err error) *apierror.Error {
	denial, ok := errors.AsType[*access.Denial](err)
	if !ok {
		return apierror.Wrap(apierror.BadRequest, sentence(err), err)
	}
	e := apierror.Wrap(apierror.CallerForbidden, sentence(err), err)
	e.Context = map[string][]string{"dimension": {string(denial.Dimension)}}
	return e
}

// connectionError maps an error of the app's connection manager to an answer
// about user.
func connectionError(h *hubApp, user string, err error) *apierror.Error {
	e := apierror.Wrap(connectionErrorKind(err))
	e.Context = map[string][]string{"app": {h.name}, "user": {user}}
	return e
}

func connectionErrorKind(err error) (apierror.SubCategory, string, error) {
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		return apierror.NotConnected, "The user has not connected a HubSpot account to this app, or has disconnected it. Let the user install the app.", err
	case errors.Is(err, connection.ErrReauthRequired):
		return apierror.ReauthRequired, "HubSpot no longer accepts the user's grant: the app was uninstalled or its access revoked. Let the user install the app again.", err
	case errors.Is(err, connection.ErrAppMisconfigured):
		return apierror.AppMisconfigured, "HubSpot refuses the app's own credentials, and no valid access token is left. An operator has to look at client_id and client_secret.", err
	case errors.Is(err, connection.ErrUnavailable):
		return apierror.StoreUnavailable, "The connection is not known here yet and the connection store does not answer. Try again soon.", err
	case errors.Is(err, connection.ErrCorrupt):
		return apierror.StoreUnavailable, "The stored connection cannot be read. Let the user install the app again, or have an operator look at the store.", err
	}
	return apierror.TokenUnavailable, "There is no valid access token at the moment and HubSpot gave no new one. Try again soon.", err
}

// addInstallLink gives an error the link with which the user can cure it, as
// the link API would have given it to this caller.
func (h *hubApp) addInstallLink(ctx context.Context, e *apierror.Error, caller *access.Caller, user string) {
	name := map[apierror.SubCategory]string{
		apierror.NotConnected:   "connect",
		apierror.ReauthRequired: "reconnect",
	}[e.SubCategory]
	// A link is for callers that are known: whoever has one can connect an
	// account of their own as this user.
	if name == "" || caller == nil || caller.Name() == "" {
		return
	}
	// A narrowed user token could not have asked for one either.
	if scope := caller.Scope(); scope != nil && scope.Narrowed() {
		return
	}
	link, err := h.installLink(ctx, linkOptions{user: user, caller: caller.Name()})
	if err != nil {
		return
	}
	e.Links = map[string]string{name: link}
}

// sentence makes a message of an error's text.
func sentence(err error) string {
	text := err.Error()
	if text == "" {
		return ""
	}
	if c := text[0]; c >= 'a' && c <= 'z' {
		text = string(c-'a'+'A') + text[1:]
	}
	return text + "."
}
