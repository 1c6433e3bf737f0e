package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// admission is a caller who may use an app.
type admission struct {
	caller *access.Caller
	app    *hubApp
	query  url.Values
	// user and tokenID are what the body of a request for a user token
	// named and what came of it, for the audit log.
	user, tokenID string
}

// admit finds the caller and the app. A caller who may not use an app is not
// told whether it exists. With an error, what was found out before it is there.
func (a *Auth) admit(r *http.Request, path authPath) (admission, *apierror.Error) {
	caller, err := a.app.authenticate(r)
	if err != nil {
		if e, ok := errors.AsType[*apierror.Error](err); ok {
			return admission{}, e
		}
		return admission{}, apierror.Wrap(apierror.CallerUnauthenticated, "The caller key cannot be checked.", err)
	}
	refusal := caller.CheckUser(path.app, "")
	app, ok := a.app.app(path.app)
	if !ok && refusal != nil {
		return admission{caller: caller}, policyError(refusal)
	}
	if !ok {
		e := apierror.New(apierror.BadRequest, "There is no app of this name in the sidecar's configuration.")
		e.Status = http.StatusNotFound
		e.Context = map[string][]string{"app": {path.app}}
		return admission{caller: caller}, e
	}
	if _, refused := app.enforce(r.Context(), caller, "", refusal); refused != nil {
		return admission{caller: caller}, refused
	}
	query, ok := singleQuery(r, paramUser, paramReturnTo, paramAllowPortalChange, paramLimit, paramAfter)
	if !ok {
		return admission{caller: caller}, apierror.New(apierror.BadRequest, "The query is damaged or holds a parameter twice.")
	}
	in := admission{caller: caller, app: app, query: query}
	return in, in.checkToken(path, r.Method)
}

// checkUser judges whether the caller may act for a user.
func (in admission) checkUser(ctx context.Context, user string) *apierror.Error {
	if err := checkUser(user); err != nil {
		return apierror.Wrap(apierror.BadRequest, sentence(err), err)
	}
	refusal := in.caller.CheckUser(in.app.name, user)
	if denial, ok := errors.AsType[*access.Denial](refusal); ok && denial.Dimension == access.DimensionApp {
		// With dry_run: admit has noted it.
		return nil
	}
	_, refused := in.app.enforce(ctx, in.caller, user, refusal)
	return refused
}

// checkToken refuses what a user token is not good for, however much its
// issuer may do.
func (in admission) checkToken(path authPath, method string) *apierror.Error {
	scope := in.caller.Scope()
	switch {
	case scope == nil:
		return nil
	case path.endpoint == endpointTokens:
		return apierror.New(apierror.CallerForbidden, "A user token cannot issue tokens. Ask with the key of a caller.")
	case scope.Narrowed() && (path.endpoint != endpointConnection || method == http.MethodDelete):
		return apierror.New(apierror.CallerForbidden,
			"This user token was narrowed by allow or deny, so it is for calls to HubSpot, and for reading its user's connection. Ask with the key of a caller.")
	}
	return nil
}
