// Package hubapp has a HubSpot app at run time: its settings, and what serves
// it. Relays, installs and the endpoints for callers all work for an [App].
package hubapp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/portalusers"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// App is one configured HubSpot app. All fields but ScopeUse and Secrets are
// required; they are set
// before the first use and left as they are. It is safe for concurrent use and
// must not be copied.
type App struct {
	// Name is the app's name in lower case.
	Name string
	// Settings are expanded.
	Settings appconfig.Resolved
	// Endpoints say where HubSpot is.
	Endpoints hubspot.Endpoints
	// Client calls HubSpot's OAuth endpoints as the app.
	Client *hubspot.Client
	// Manager has the app's connections and their tokens.
	Manager *connection.Manager
	// Limiter paces requests to the API.
	Limiter *quota.Limiter
	// ScopeUse learns which scopes the app needs; nil learns nothing.
	ScopeUse *scopeuse.App
	// PortalUsers knows who stands for a HubSpot account.
	PortalUsers *portalusers.Directory
	// Secrets knows for what the client secrets were last needed. Whoever
	// checks with one notes it there; nil notes nothing.
	Secrets *secretuse.Ledger

	sealers sealerCache
}

// Static returns what asks HubSpot about the tokens of a static app.
func (a *App) Static() *hubspot.StaticClient {
	return &hubspot.StaticClient{HTTP: a.Client.HTTP, Endpoints: a.Endpoints}
}

// Credentials returns the app's client credentials. It fails with
// [connection.ErrUnavailable] if they are kept in the store and have never
// been read, and with [hubspot.ErrNoCredentials] for a static app.
func (a *App) Credentials(ctx context.Context) (hubspot.Credentials, error) {
	return a.Client.Credentials.Credentials(ctx)
}

// UUID returns the name-based UUID of the app's client id. It fails as
// Credentials does.
func (a *App) UUID(ctx context.Context) (string, error) {
	credentials, err := a.Credentials(ctx)
	if err != nil {
		return "", err
	}
	return hubspot.ClientUUID(credentials.ClientID), nil
}

// Exchange redeems the code of a callback. For a user-level app the grant has
// the HubSpot user whose it is. Errors are those of [hubspot.Client.Exchange].
func (a *App) Exchange(ctx context.Context, code, verifier string) (hubspot.Grant, error) {
	grant, err := a.Client.Exchange(ctx, code, verifier)
	if err == nil && a.Settings.UserLevel && grant.UserID == 0 {
		grant.UserID, err = a.personOf(ctx, grant)
	}
	if stored, ok := a.Client.Credentials.(*StoredCredentials); ok {
		stored.refusedBy(err)
	}
	return grant, err
}

// personOf asks HubSpot whose a grant of a user-level app is.
func (a *App) personOf(ctx context.Context, grant hubspot.Grant) (int64, error) {
	about, err := a.Client.Introspect(ctx, grant.AccessToken, hubspot.KindAccessToken)
	switch {
	case err != nil:
		return 0, fmt.Errorf("asking whose the grant is: %w", err)
	case !about.Active || about.UserID == 0 || about.HubID != 0 && about.HubID != grant.HubID:
		return 0, fmt.Errorf("asking whose the grant is: %w", errNobodys)
	}
	return about.UserID, nil
}

// errNobodys is for a grant of which HubSpot does not say whose it is, so that
// it cannot be pinned to a person.
var errNobodys = &hubspot.TokenError{Class: hubspot.ClassTransient, HTTPStatus: http.StatusOK}

// RequiredScopes are those that HubSpot must grant, the conditional ones of
// the configuration included.
func (a *App) RequiredScopes() []string {
	return slices.Concat(a.Settings.Scopes.Required, a.Settings.Scopes.Conditional)
}

// AskedScopes are all scopes of an install.
func (a *App) AskedScopes() []string {
	return slices.Concat(a.RequiredScopes(), a.Settings.Scopes.Optional)
}

// tagPatience is how long a line of the log waits for the store, which has to be
// asked once for what tags are made with.
const tagPatience = 100 * time.Millisecond

// LogTag is the name under which logs speak of a user who was asked for, empty
// for what can be none. It is "unknown" where the store does not answer at once.
func (a *App) LogTag(ctx context.Context, user string) string {
	if userid.Check(user) != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, tagPatience)
	defer cancel()
	return a.Manager.Tag(ctx, user)
}
