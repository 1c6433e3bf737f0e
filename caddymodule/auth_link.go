package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
)

// errUnsealable means that what an install has to remember does not fit into
// a link: the caller's input is too long or not text.
var errUnsealable = errors.New("making install link")

// errNoInstallLinks means that the app has no redirect_uri.
var errNoInstallLinks = errors.New("the app has no redirect_uri, so that it can have no install links")

// Values of the state's Flow.
const (
	// flowLink is an install that started here, by link or by browser.
	flowLink = ""
	// flowMarketplace is one that started with HubSpot's own install
	// button. HubSpot made the request, so it has no PKCE challenge.
	flowMarketplace = "marketplace"
)

// linkOptions say what an install is for.
type linkOptions struct {
	// user is the vendor's identifier of the user; required.
	user string
	// returnTo is where the browser goes afterwards, as the allow-list
	// returned it; empty for nowhere.
	returnTo string
	// allowPortalChange lets the connection move to another portal.
	allowPortalChange bool
	// caller is who asked for the link; empty for a browser.
	caller string
	// browserHash binds the install to the browser that has the cookie;
	// empty for a link that works in any browser.
	browserHash string
}

// installLink returns the address at HubSpot at which a user connects. It
// works for ten minutes and once. Errors wrap [connection.ErrUnavailable],
// where the client credentials cannot be read, errNoInstallLinks,
// errUnsealable, or the [*apierror.Error] of what is frozen.
func (h *hubApp) installLink(ctx context.Context, o linkOptions) (string, error) {
	link, _, err := h.startInstall(ctx, o)
	return link, err
}

// startInstall is installLink for those who need the sealed state as well.
func (h *hubApp) startInstall(ctx context.Context, o linkOptions) (link, state string, err error) {
	if !h.settings.HasInstallLinks() {
		return "", "", errNoInstallLinks
	}
	verifier := hubspot.NewVerifier()
	state, err = h.sealState(ctx, o, flowLink, verifier)
	if err != nil {
		return "", "", err
	}
	link, err = h.client.AuthorizeURL(ctx, hubspot.AuthorizeRequest{
		Scopes:         h.requiredScopes(),
		OptionalScopes: h.settings.Scopes.Optional,
		State:          state,
		Verifier:       verifier,
	})
	return link, state, err
}

// sealState makes the state of a new install.
func (h *hubApp) sealState(ctx context.Context, o linkOptions, flow, verifier string) (string, error) {
	if err := h.checkInstallFrozen(ctx, o.user, o.caller); err != nil {
		return "", err
	}
	sealer, err := h.sealer(ctx)
	if err != nil {
		return "", fmt.Errorf("making install state: %w", err)
	}
	state, err := sealer.Seal(oauthstate.State{
		App:               h.name,
		User:              o.user,
		Verifier:          verifier,
		ReturnTo:          o.returnTo,
		Nonce:             rand.Text(),
		BrowserHash:       o.browserHash,
		AllowPortalChange: o.allowPortalChange,
		IssuedAt:          time.Now(),
		Flow:              flow,
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnsealable, err)
	}
	return state, nil
}

// requiredScopes are those that HubSpot must grant, the conditional ones of
// the configuration included.
func (h *hubApp) requiredScopes() []string {
	return slices.Concat(h.settings.Scopes.Required, h.settings.Scopes.Conditional)
}

// askedScopes are all scopes of an install.
func (h *hubApp) askedScopes() []string {
	return slices.Concat(h.requiredScopes(), h.settings.Scopes.Optional)
}
