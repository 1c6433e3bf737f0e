package callerapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Parameters of the endpoints.
const (
	paramUser              = "userForeignIdentifier"
	paramReturnTo          = "return_to"
	paramAllowPortalChange = "allow_portal_change"
	paramLimit             = "limit"
	paramAfter             = "after"
	paramStatus            = "status"
	paramUninstall         = "uninstall"
)

// admit finds the caller and the app. A caller who may not use an app is not
// told whether it exists.
func (q *request) admit() (err error) {
	if q.caller, err = q.config.Desk.Authenticate(q.r); err != nil {
		return err
	}
	refusal := q.caller.CheckUser(q.path.App, "")
	app, ok := q.config.Desk.App(q.path.App)
	switch {
	case !ok && refusal != nil:
		return admission.PolicyError(refusal)
	case !ok:
		e := apierror.New(apierror.BadRequest, "There is no app of this name in the sidecar's configuration.")
		e.Status = http.StatusNotFound
		e.Context = map[string][]string{"app": {q.path.App}}
		return e
	}
	if _, err := q.config.Desk.Enforce(q.r.Context(), app, q.caller, "", refusal); err != nil {
		return err
	}
	q.app = app
	query, ok := install.SingleQuery(q.r, paramUser, paramReturnTo, paramAllowPortalChange, paramLimit, paramAfter, paramStatus, paramUninstall)
	if !ok {
		return apierror.New(apierror.BadRequest, "The query is damaged or holds a parameter twice.")
	}
	q.query = query
	if q.path.Endpoint == install.EndpointLink {
		q.user = query.Get(paramUser)
	}
	return q.checkToken()
}

// checkToken refuses what a user token is not good for, however much its
// issuer may do.
func (q *request) checkToken() error {
	scope := q.caller.Scope()
	switch {
	case scope == nil:
		return nil
	case q.path.Endpoint == install.EndpointTokens:
		return apierror.New(apierror.CallerForbidden, "A user token cannot issue tokens. Ask with the key of a caller.")
	case scope.Narrowed() && (q.path.Endpoint != install.EndpointConnection || q.r.Method == http.MethodDelete):
		return apierror.New(apierror.CallerForbidden,
			"This user token was narrowed by allow or deny, so it is for calls to HubSpot, and for reading its user's connection. Ask with the key of a caller.")
	}
	return nil
}

// checkUser judges whether the caller may act for the user.
func (q *request) checkUser() error {
	if err := userid.Check(q.user); err != nil {
		return apierror.Bad(err)
	}
	refusal := q.caller.CheckUser(q.app.Name, q.user)
	if denial, ok := errors.AsType[*access.Denial](refusal); ok && denial.Dimension == access.DimensionApp {
		// With dry_run: admit has noted it.
		return nil
	}
	_, err := q.config.Desk.Enforce(q.r.Context(), q.app, q.caller, q.user, refusal)
	return err
}

// checkFrozen judges whether the request is frozen. c lacks the app and the
// caller.
func (q *request) checkFrozen(c freeze.Call) error {
	c.App, c.Caller = q.app.Name, q.caller.Name()
	return q.config.Desk.CheckFrozen(q.r.Context(), c)
}

// maySee returns which users a list may show, those whose connection the
// caller could ask for one by one, and what is to be called after the list:
// with dry_run everybody is shown whom the policy would hide, and that somebody
// would have been hidden is noted once.
func (q *request) maySee(ctx context.Context) (show func(user string) bool, listed func()) {
	permitted, listed := q.caller.MayUser, func() {}
	if q.caller.DryRun() {
		var hidden error
		permitted = func(user string) bool {
			if !q.caller.MayUser(user) {
				hidden = &access.Denial{Caller: q.caller.Name(), Dimension: access.DimensionUser}
			}
			return true
		}
		listed = func() { _, _ = q.config.Desk.Enforce(ctx, q.app, q.caller, "", hidden) }
	}
	if q.config.Desk.NothingFrozen() {
		return permitted, listed
	}
	return func(user string) bool {
		return permitted(user) && q.checkFrozen(freeze.Call{User: user, Tending: true}) == nil
	}, listed
}
