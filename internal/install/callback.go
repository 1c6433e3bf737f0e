package install

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
)

// Parameters with which HubSpot sends browsers back.
const (
	paramCode      = "code"
	paramState     = "state"
	paramError     = "error"
	paramErrorText = "error_description"
	paramStep      = "step"
	paramReturnURL = "returnUrl"

	stepAuthorize = "authorize"
	stepFinalize  = "finalize"
)

const (
	// timeout bounds the end of an install: one call to HubSpot and a few to
	// the store.
	timeout = 30 * time.Second
	// nonceMargin is for the clocks of other machines, which may find a
	// state still good that is expired here.
	nonceMargin = 2 * time.Minute
)

// callback answers a browser that HubSpot has sent back.
func (v *visit) callback(t target) (*reply, error) {
	query, ok := SingleQuery(v.r, paramCode, paramState, paramError, paramErrorText, paramStep, paramReturnURL)
	if !ok {
		v.findWayBack(t)
		return nil, refusedQuery.because(nil)
	}
	if query.Get(paramStep) == stepAuthorize {
		return v.marketplaceStart(t, query)
	}
	v.again = v.connectPath(v.r, t.app)
	v.cookies = endedCookies(v.r, t.secure, query.Get(paramState))
	return v.finish(t, query)
}

// endedCookies clears the cookie of an install that is over, whichever way.
// Where HubSpot does not say which install is over, all end.
func endedCookies(r *http.Request, secure bool, state string) []*http.Cookie {
	var cleared []*http.Cookie
	for _, name := range flowCookies(r, secure) {
		if state == "" || name == flowCookieName(secure, state) {
			cleared = append(cleared, newFlowCookie(secure, name, ""))
		}
	}
	return cleared
}

// finish handles what HubSpot says at the end of an install. Whatever can be
// refused without asking HubSpot or the store is refused first.
func (v *visit) finish(t target, query url.Values) (*reply, error) {
	code, sealed := query.Get(paramCode), query.Get(paramState)
	var st oauthstate.State
	var err error
	if sealed != "" {
		st, err = v.openState(t, sealed)
	}
	switch {
	case query.Get(paramError) != "":
		return nil, denied(query)
	case code != "" && sealed == "":
		return nil, refusedNoState.because(nil)
	case code == "" || sealed == "":
		return nil, refusedEmpty.because(nil)
	case err != nil:
		return nil, err
	}
	if err := v.config.Desk.CheckInstallFrozen(v.r.Context(), t.app.Name, st.User, ""); err != nil {
		return nil, cannotStart(err)
	}
	p, err := v.redeem(t.app, st, code)
	if err != nil {
		return nil, err
	}
	v.goOn(p, query)
	return p, nil
}

// openState opens a state, finds out where its browser came from, and checks
// that the install is not over and was begun by this browser.
func (v *visit) openState(t target, sealed string) (oauthstate.State, error) {
	sealer, err := t.app.StateSealer(v.r.Context())
	if err != nil {
		return oauthstate.State{}, cannotStart(err)
	}
	st, err := sealer.Open(sealed, time.Now())
	if err == nil || errors.Is(err, oauthstate.ErrExpired) {
		v.begunHere, v.back = true, v.stillAllowed(st.ReturnTo)
	}
	switch {
	case err != nil:
		return oauthstate.State{}, unusableState(err)
	case st.BrowserHash != "" && !holdsBinding(v.r, flowCookieName(t.secure, sealed), st.BrowserHash):
		return oauthstate.State{}, refusedWrongBrowser.because(nil)
	}
	v.user = st.User
	return st, nil
}

// stillAllowed checks a return_to again when it is used: the allow-list may
// have changed since the link was made.
func (v *visit) stillAllowed(returnTo string) address {
	if returnTo == "" {
		return address{}
	}
	back, err := v.config.ReturnTo.check(returnTo)
	if err != nil {
		v.config.Logger.WarnContext(v.r.Context(), "not sending the browser back: return_to is no longer allowed", slog.String("app", v.app.Name))
	}
	return back
}

// redeem trades the code for tokens and stores the connection. It goes on
// when the browser hangs up: a code works once, and what it gave would be
// lost.
func (v *visit) redeem(app *hubapp.App, st oauthstate.State, code string) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), timeout)
	defer cancel()
	used, err := app.Manager.StateUsed(ctx, st.User, st.Nonce)
	switch {
	case err != nil:
		return nil, cannotStore(err)
	case used:
		return nil, refusedUsed.because(nil)
	}
	// The code works once: it is not spent on what cannot be stored.
	if err := app.Manager.CanConnect(ctx, st.User); err != nil {
		return nil, cannotStore(err)
	}
	verifier := st.Verifier
	if st.Flow == installlink.FlowMarketplace {
		verifier = ""
	}
	asked := time.Now()
	grant, err := app.Exchange(ctx, code, verifier)
	if err != nil {
		return nil, cannotExchange(err)
	}
	var person int64
	if app.Settings.UserLevel {
		person = grant.UserID
	}
	summary, err := app.Manager.Connect(ctx, connection.Install{
		User:              st.User,
		Grant:             grant,
		IssuedAt:          asked,
		Asked:             app.AskedScopes(),
		Nonce:             st.Nonce,
		NonceUntil:        st.IssuedAt.Add(oauthstate.Lifetime + nonceMargin),
		HubUserID:         person,
		AllowPortalChange: st.AllowPortalChange,
	})
	if err != nil {
		// The tokens are dropped and not revoked: another user of the same
		// portal may share the grant.
		return nil, cannotStore(err)
	}
	v.hubID = summary.HubID
	return connectedReply(app, summary), nil
}

// connected is the answer to a program that finished an install.
type connected struct {
	Message       string   `json:"message"`
	User          string   `json:"userForeignIdentifier"`
	HubID         int64    `json:"hubId"`
	MissingScopes []string `json:"missingScopes,omitempty"`
}

func connectedReply(app *hubapp.App, s connection.Summary) *reply {
	return &reply{
		outcome: outcomeConnected,
		status:  http.StatusOK,
		json:    connected{Message: "User Registered", User: s.User, HubID: s.HubID, MissingScopes: s.MissingScopes},
		page: page{
			Good:    true,
			Title:   "Connected to HubSpot",
			Text:    []string{"Your HubSpot account is now connected. You can close this page."},
			App:     app.Name,
			HubID:   s.HubID,
			Missing: s.MissingScopes,
		},
	}
}

// goOn sends the browser of a finished install where it is expected.
func (v *visit) goOn(p *reply, query url.Values) {
	if query.Get(paramStep) == stepFinalize {
		if a, ok := hubspotAddress(v.app, query.Get(paramReturnURL)); ok {
			p.status, p.location = http.StatusFound, a.String()
		}
		return
	}
	if v.back != (address{}) {
		p.status = http.StatusFound
		p.location = v.back.with(returnParams, "hubspot", "connected", "app", v.app.Name).String()
	}
}

// errorWord is the shape of an OAuth error code (RFC 6749 4.1.2.1).
var errorWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// passing are the error codes for troubles of HubSpot's own, after which another
// try may work (RFC 6749 4.1.2.1).
var passing = map[string]bool{"server_error": true, "temporarily_unavailable": true}

// denied says why HubSpot ended an install. Anybody can make such a link, so
// what it says is shown as a quotation only, and leads nowhere.
func denied(query url.Values) error {
	word := query.Get(paramError)
	if !errorWord.MatchString(word) {
		word = "unknown"
	}
	refused := refusedDenied
	if passing[word] {
		refused = refusedAccount
	}
	f := refused.because(nil)
	f.says(word, query.Get(paramErrorText))
	return f
}

// misdirected answers a browser that HubSpot has sent back to an address of
// which a proxy in front has taken a part off.
func (v *visit) misdirected(t target) (*reply, error) {
	v.findWayBack(t)
	return nil, refusedMisdirected.because(errors.New("the path is not that of the app's redirect_uri but a part of it: the proxy in front has to pass the whole path"))
}

// findWayBack reads the state of a request that is refused whatever it holds,
// for where the browser came from. Whether it is the one that began does not
// matter.
func (v *visit) findWayBack(t target) {
	if query, ok := SingleQuery(v.r, paramState); ok && query.Get(paramState) != "" {
		_, _ = v.openState(t, query.Get(paramState))
	}
}

// fromHubSpot reports whether a request looks like that of a browser that
// HubSpot has sent back.
func fromHubSpot(r *http.Request) bool {
	query := r.URL.Query()
	return r.Method == http.MethodGet && wantsPage(r) &&
		((query.Has(paramCode) || query.Has(paramError)) && query.Has(paramState) || query.Get(paramStep) == stepAuthorize)
}

// hubletHost matches the hosts of HubSpot's own user interface.
var hubletHost = regexp.MustCompile(`^app(-[a-z0-9]{2,8})?\.hubspot\.com$`)

// hubspotAddress reads a returnUrl: an address of HubSpot's user interface, or
// of the host of the configured consent page.
func hubspotAddress(app *hubapp.App, raw string) (address, bool) {
	a, err := parseAddress(raw)
	if err != nil {
		return address{}, false
	}
	if a.scheme == "https" && a.port == "" && hubletHost.MatchString(a.host) {
		return a, true
	}
	configured, err := parseAddress(app.Endpoints.WithDefaults().Authorize)
	return a, err == nil && a.sameOrigin(configured)
}
