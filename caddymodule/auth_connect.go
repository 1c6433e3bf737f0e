package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Parameters of the addresses that a browser is sent to.
const (
	paramReturnTo = "return_to"
	// paramSignedIn marks a browser that comes back from signing in. It is
	// not sent there a second time: that could go on for ever.
	paramSignedIn = "signed_in"
)

// outcomeSignIn is that of a browser that is sent to the sign-in page.
const outcomeSignIn = "sign_in"

// serveConnect answers a browser that wants to connect.
func (a *Auth) serveConnect(w http.ResponseWriter, r *http.Request, app *hubApp) {
	begun := time.Now()
	p := a.guardPublic(w, r)
	if p == nil {
		p = a.connect(r, app)
	}
	if p.app == nil {
		p.about(app, "")
	}
	a.send(w, r, p, begun)
}

// connect begins an install for the user of the browser's session.
func (a *Auth) connect(r *http.Request, app *hubApp) *reply {
	t, ok := a.callbacks.byApp[app]
	if !a.sessions || !ok {
		return refusedDisabled.reply(nil)
	}
	query, ok := singleQuery(r, paramReturnTo)
	if !ok {
		return refusedQuery.reply(nil)
	}
	returnTo := ""
	if raw := query.Get(paramReturnTo); raw != "" {
		address, err := a.returnTo.check(raw)
		if err != nil {
			return refusedReturnTo.saying(sentence(err)).reply(err)
		}
		returnTo = address.String()
	}
	user, refused := a.sessionUser(r, t, query)
	if refused != nil {
		return refused
	}
	binding, hash := newBrowserBinding()
	link, state, err := app.startInstall(r.Context(), linkOptions{user: user, returnTo: returnTo, browserHash: hash})
	if err != nil {
		return refuseStart(err).about(app, user)
	}
	return a.toHubSpot(r, t, "started", link, state, binding).about(app, user)
}

// marketplaceStart is the first leg of HubSpot's partner sign-in flow: its
// install button sends the browser here, to be told by our state whose
// install it is.
func (a *Auth) marketplaceStart(r *http.Request, t callbackTarget, query url.Values) *reply {
	returnURL, ok := a.hubspotURL(t.app, query.Get(paramReturnURL))
	if !ok {
		return refusedReturnURL.reply(nil)
	}
	if !a.sessions {
		return refusedDisabled.reply(nil)
	}
	user, refused := a.sessionUser(r, t, query)
	if refused != nil {
		return refused
	}
	binding, hash := newBrowserBinding()
	options := linkOptions{user: user, browserHash: hash}
	state, err := t.app.sealState(r.Context(), options, flowMarketplace, hubspot.NewVerifier())
	if err != nil {
		return refuseStart(err).about(t.app, user)
	}
	location := withState(returnURL, state)
	return a.toHubSpot(r, t, "marketplace_started", location, state, binding).about(t.app, user)
}

// toHubSpot sends the browser to HubSpot with the cookie that binds the
// install to it. The access log would show the address with the state.
func (a *Auth) toHubSpot(r *http.Request, t callbackTarget, outcome, location, state, binding string) *reply {
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	p := redirectTo(outcome, location)
	p.cookies = append(surplusCookies(r, t.secure),
		newFlowCookie(t.secure, flowCookieName(t.secure, state), binding))
	return p
}

// sessionUser returns the user that the browser's session gives, or what a
// browser without a session is answered.
func (a *Auth) sessionUser(r *http.Request, t callbackTarget, query url.Values) (string, *reply) {
	user, err := a.user.find(r)
	if err == nil && user != "" {
		err = checkUser(user)
	}
	if err != nil {
		return "", refusedUser.reply(err)
	}
	if user != "" {
		return user, nil
	}
	if a.signIn == nil {
		return "", refusedSession.reply(nil)
	}
	if query.Has(paramSignedIn) {
		p := refusedSession.saying("You came back from signing in, but this site still does not know who you are. Press Connect to HubSpot in the application again; if that does not help, an operator of this site has to look at the settings user and sign_in of hubspot_auth.")
		return "", p.reply(errors.New("no session after signing in"))
	}
	return "", redirectTo(outcomeSignIn, a.signInURL(r, t))
}

// signInURL is the sign-in page, told where to come back to. That is made of
// the origin of redirect_uri, which is where browsers see this site and where
// the binding cookie has to be, and never of the Host header.
func (a *Auth) signInURL(r *http.Request, t callbackTarget) string {
	seen := originalURL(r)
	back := t.origin + seen.EscapedPath() + "?"
	if seen.RawQuery != "" {
		back += seen.RawQuery + "&"
	}
	back += paramSignedIn + "=1"
	signIn := *a.signIn
	if signIn.RawQuery != "" {
		signIn.RawQuery += "&"
	}
	signIn.RawQuery += paramReturnTo + "=" + url.QueryEscape(back)
	return signIn.String()
}

// parseSignIn reads the setting sign_in.
func parseSignIn(raw string) (*url.URL, error) {
	address, err := parseReturnAddress(raw)
	if err != nil {
		return nil, err
	}
	return url.Parse(address.String())
}

// withState appends the state to an address of HubSpot's, in place of one
// that is there.
func withState(u *url.URL, state string) string {
	var kept []string
	for parameter := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(parameter, "=")
		if decoded, err := url.QueryUnescape(name); parameter != "" && (err != nil || decoded != "state") {
			kept = append(kept, parameter)
		}
	}
	with := *u
	with.RawQuery = strings.Join(append(kept, "state="+url.QueryEscape(state)), "&")
	return with.String()
}
