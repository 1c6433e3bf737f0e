package install

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Parameters of the addresses that a browser is sent to.
const (
	paramReturnTo = "return_to"
	// paramSignedIn marks a browser that comes back from signing in. It is
	// not sent there a second time: that could go on for ever.
	paramSignedIn = "signed_in"
	// paramScopes says which scopes to ask for: scopesGranted are those that the
	// user has granted before, for which no more rights in the HubSpot account
	// are needed. Without it, all of the settings.
	paramScopes   = "scopes"
	scopesGranted = "granted"
)

// outcomeSignIn is that of a browser that is sent to the sign-in page.
const outcomeSignIn = "sign_in"

// connect begins an install for the user of the browser's session.
func (v *visit) connect(app *hubapp.App) (*reply, error) {
	t, ok := v.callbacks.byApp[app]
	if !v.sessions || !ok {
		return nil, refusedDisabled.because(nil)
	}
	query, ok := SingleQuery(v.r, paramReturnTo, paramScopes)
	if !ok || query.Has(paramScopes) && query.Get(paramScopes) != scopesGranted {
		return nil, refusedQuery.because(nil)
	}
	var returnTo string
	if raw := query.Get(paramReturnTo); raw != "" {
		var err error
		if v.back, err = v.config.ReturnTo.check(raw); err != nil {
			return nil, refusedReturnTo.saying(apierror.Sentence(err)).because(err)
		}
		returnTo = v.back.String()
	}
	if p, err := v.findUser(t, query); p != nil || err != nil {
		return p, err
	}
	binding, hash := newBrowserBinding()
	options := installlink.Options{User: v.user, ReturnTo: returnTo, BrowserHash: hash}
	if query.Has(paramScopes) {
		options.Scopes = v.granted(app)
	}
	link, state, err := installlink.Make(v.r.Context(), v.config.Desk, app, options)
	if err != nil {
		return nil, cannotStart(err)
	}
	return v.toHubSpot(t, "started", link, state, binding), nil
}

// granted are the scopes that the user has granted before. Without any, or while
// they cannot be read, the link asks for those of the settings.
func (v *visit) granted(app *hubapp.App) []string {
	summary, err := app.Manager.Get(v.r.Context(), v.user)
	if err != nil {
		return nil
	}
	return summary.Scopes
}

// marketplaceStart is the first leg of HubSpot's partner sign-in flow: its
// install button sends the browser here, to be told by our state whose
// install it is.
func (v *visit) marketplaceStart(t target, query url.Values) (*reply, error) {
	returnURL, ok := hubspotAddress(t.app, query.Get(paramReturnURL))
	if !ok {
		return nil, refusedReturnURL.because(nil)
	}
	if !v.sessions {
		return nil, refusedDisabled.because(nil)
	}
	if p, err := v.findUser(t, query); p != nil || err != nil {
		return p, err
	}
	binding, hash := newBrowserBinding()
	options := installlink.Options{User: v.user, BrowserHash: hash}
	state, err := installlink.SealState(v.r.Context(), v.config.Desk, t.app, options, installlink.FlowMarketplace, hubspot.NewVerifier())
	if err != nil {
		return nil, cannotStart(err)
	}
	location := returnURL.with([]string{paramState}, paramState, state).String()
	return v.toHubSpot(t, "marketplace_started", location, state, binding), nil
}

// toHubSpot sends the browser to HubSpot with the cookie that binds the
// install to it. The access log would show the address with the state.
func (v *visit) toHubSpot(t target, outcome, location, state, binding string) *reply {
	v.config.SkipAccessLog(v.r)
	v.cookies = append(surplusCookies(v.r, t.secure), newFlowCookie(t.secure, flowCookieName(t.secure, state), binding))
	return redirectTo(outcome, location)
}

// findUser finds the user that the browser's session gives. It returns an
// answer or an error for a browser without a session.
func (v *visit) findUser(t target, query url.Values) (*reply, error) {
	user, err := v.config.User.Find(v.r)
	if err == nil {
		err = userid.Check(user)
	}
	switch {
	case err != nil:
		return nil, refusedUser.because(err)
	case user != "":
		v.user = user
		return nil, nil
	case v.config.SignIn == nil:
		return nil, refusedSession.because(nil)
	case query.Has(paramSignedIn):
		return nil, refusedSession.
			saying("You came back from signing in, but this site still does not know who you are. Press Connect to HubSpot in the application again; if that does not help, an operator of this site has to look at the settings user and sign_in of hubspot_auth.").
			because(errors.New("no session after signing in"))
	}
	return redirectTo(outcomeSignIn, v.signInURL(t)), nil
}

// signInURL is the sign-in page, told where to come back to. That is made of
// the origin of redirect_uri, which is where browsers see this site and where
// the binding cookie has to be, and never of the Host header.
func (v *visit) signInURL(t target) string {
	seen := v.config.OriginalURL(v.r)
	back := t.origin + seen.EscapedPath() + "?"
	if seen.RawQuery != "" {
		back += seen.RawQuery + "&"
	}
	back += paramSignedIn + "=1"
	signIn := *v.config.SignIn
	if signIn.RawQuery != "" {
		signIn.RawQuery += "&"
	}
	signIn.RawQuery += paramReturnTo + "=" + url.QueryEscape(back)
	return signIn.String()
}

// ParseSignIn reads the setting sign_in. Its errors go on from the value.
func ParseSignIn(raw string) (*url.URL, error) {
	a, err := parseAddress(raw)
	if err != nil {
		return nil, err
	}
	return url.Parse(a.String())
}

// connectPath is where a browser begins an install of an app, as it has to
// write it; empty if it cannot.
func (i *Installer) connectPath(r *http.Request, app *hubapp.App) string {
	if _, ok := i.callbacks.byApp[app]; !ok || !i.sessions {
		return ""
	}
	return publicPath(r, i.config.OriginalURL(r), i.config.Base.connect(app.Name))
}
