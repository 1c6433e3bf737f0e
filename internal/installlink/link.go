// Package installlink makes the links with which users connect their HubSpot
// accounts, and the sealed states in them.
package installlink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
)

// Errors of [Make] and [SealState].
var (
	// ErrUnsealable means that what an install has to remember does not fit
	// into a link: the caller's input is too long or not text.
	ErrUnsealable = errors.New("making install link")
	// ErrNoLinks means that the app has no redirect_uri.
	ErrNoLinks = errors.New("the app has no redirect_uri, so that it can have no install links")
)

// Values of the state's Flow.
const (
	// FlowLink is an install that started here, by link or by browser.
	FlowLink = ""
	// FlowMarketplace is one that started with HubSpot's own install
	// button. HubSpot made the request, so it has no PKCE challenge.
	FlowMarketplace = "marketplace"
)

// Options say what an install is for.
type Options struct {
	// User is the vendor's identifier of the user. Required.
	User string
	// ReturnTo is where the browser goes afterwards, as the allow-list
	// returned it; empty for nowhere.
	ReturnTo string
	// Scopes are what is asked for of the conditional and optional scopes of
	// the app's settings; without any, all of these are. The required ones are
	// in every link: HubSpot takes none without them.
	Scopes []string
	// AllowPortalChange lets the connection move to another portal.
	AllowPortalChange bool
	// Caller is who asked for the link; empty for a browser.
	Caller string
	// BrowserHash binds the install to the browser that has the cookie;
	// empty for a link that works in any browser.
	BrowserHash string
}

// Make returns the address at HubSpot at which a user connects, and the sealed
// state in it. It works for ten minutes and once. Errors wrap
// [connection.ErrUnavailable], where the client credentials cannot be read,
// ErrNoLinks, [hubspot.ErrNoCredentials] for a static app, ErrUnsealable, or the [*apierror.Error] of what is frozen.
func Make(ctx context.Context, desk *admission.Desk, app *hubapp.App, o Options) (link, state string, err error) {
	if app.Settings.Static {
		return "", "", fmt.Errorf("making install link: %w", hubspot.ErrNoCredentials)
	}
	if !app.Settings.HasInstallLinks() {
		return "", "", ErrNoLinks
	}
	verifier := hubspot.NewVerifier()
	state, err = SealState(ctx, desk, app, o, FlowLink, verifier)
	if err != nil {
		return "", "", err
	}
	required, optional := app.RequiredScopes(), app.Settings.Scopes.Optional
	if len(o.Scopes) > 0 {
		required = slices.Concat(app.Settings.Scopes.Required, only(app.Settings.Scopes.Conditional, o.Scopes))
		optional = only(optional, o.Scopes)
	}
	link, err = app.Client.AuthorizeURL(ctx, hubspot.AuthorizeRequest{
		Scopes:         required,
		OptionalScopes: optional,
		State:          state,
		Verifier:       verifier,
	})
	return link, state, err
}

// only returns those of some scopes that are among others.
func only(scopes, others []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !slices.Contains(others, scope) })
}

// SealState makes the state of a new install. Errors are those of Make, but
// for ErrNoLinks.
func SealState(ctx context.Context, desk *admission.Desk, app *hubapp.App, o Options, flow, verifier string) (string, error) {
	if err := desk.CheckInstallFrozen(ctx, app.Name, o.User, o.Caller); err != nil {
		return "", err
	}
	sealer, err := app.StateSealer(ctx)
	if err != nil {
		return "", fmt.Errorf("making install state: %w", err)
	}
	state, err := sealer.Seal(oauthstate.State{
		App:               app.Name,
		User:              o.User,
		Verifier:          verifier,
		ReturnTo:          o.ReturnTo,
		Nonce:             rand.Text(),
		BrowserHash:       o.BrowserHash,
		AllowPortalChange: o.AllowPortalChange,
		IssuedAt:          time.Now(),
		Flow:              flow,
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnsealable, err)
	}
	return state, nil
}

// AddTo gives an error the link with which the user can cure it, if the caller
// could have had one from the link API; caller may be nil. A link to reconnect
// asks for what the user has granted before: for more, somebody with more rights
// in the HubSpot account would have to press it.
func AddTo(ctx context.Context, desk *admission.Desk, app *hubapp.App, e *apierror.Error, caller *access.Caller, user string) {
	name := map[apierror.SubCategory]string{
		apierror.NotConnected:   "connect",
		apierror.ReauthRequired: "reconnect",
	}[e.SubCategory]
	if name == "" {
		return
	}
	if link := forCaller(ctx, desk, app, caller, Options{User: user, Scopes: app.Manager.GrantedScopes(user)}); link != "" {
		e.Links = map[string]string{name: link}
	}
}

// ForMore returns the link with which a user grants what a call needed besides
// what is granted: needed are scopes of HubSpot's answer, of which those count
// that the app's settings name. It is empty if none of these is missing, and for
// callers that could not have had it from the link API; caller may be nil.
func ForMore(ctx context.Context, desk *admission.Desk, app *hubapp.App, caller *access.Caller, user string, granted, needed []string) string {
	missing := slices.DeleteFunc(only(app.AskedScopes(), needed), func(scope string) bool { return slices.Contains(granted, scope) })
	if len(missing) == 0 {
		return ""
	}
	return forCaller(ctx, desk, app, caller, Options{User: user, Scopes: slices.Concat(granted, missing)})
}

// ForReconnect returns the link with which a user whose grant has ended grants
// again what was granted. It is empty for callers that could not have had it from
// the link API; caller may be nil.
func ForReconnect(ctx context.Context, desk *admission.Desk, app *hubapp.App, caller *access.Caller, user string, granted []string) string {
	return forCaller(ctx, desk, app, caller, Options{User: user, Scopes: granted})
}

// ForOperator is [ForReconnect] for whoever has the admin API, and so all
// connections.
func ForOperator(ctx context.Context, desk *admission.Desk, app *hubapp.App, user string, granted []string) string {
	link, _, err := Make(ctx, desk, app, Options{User: user, Scopes: granted})
	if err != nil {
		return ""
	}
	return link
}

// forCaller is a link as the link API would have given it to a caller, or
// nothing.
func forCaller(ctx context.Context, desk *admission.Desk, app *hubapp.App, caller *access.Caller, o Options) string {
	// A link is for callers that are known: whoever has one can connect an
	// account of their own as this user.
	if caller == nil || caller.Name() == "" {
		return ""
	}
	// A narrowed user token could not have asked for one either.
	if scope := caller.Scope(); scope != nil && scope.Narrowed() {
		return ""
	}
	o.Caller = caller.Name()
	link, _, err := Make(ctx, desk, app, o)
	if err != nil {
		return ""
	}
	return link
}
