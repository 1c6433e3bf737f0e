package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
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
	// installTimeout bounds the end of an install: one call to HubSpot and
	// a few to the store.
	installTimeout = 30 * time.Second
	// nonceMargin is for the clocks of other machines, which may find a
	// state still good that is expired here.
	nonceMargin = 2 * time.Minute
)

// serveCallback answers a browser that HubSpot has sent back.
func (a *Auth) serveCallback(w http.ResponseWriter, r *http.Request, t callbackTarget) {
	begun := time.Now()
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	p := a.guardPublic(w, r)
	if p == nil {
		p = a.callback(r, t)
	}
	if p.app == nil {
		p.about(t.app, "")
	}
	a.send(w, r, p, begun)
}

func (a *Auth) callback(r *http.Request, t callbackTarget) *reply {
	query, ok := singleQuery(r, paramCode, paramState, paramError, paramErrorText, paramStep, paramReturnURL)
	if !ok {
		return refusedQuery.reply(nil)
	}
	if query.Get(paramStep) == stepAuthorize {
		return a.marketplaceStart(r, t, query)
	}
	p := a.finish(r, t, query)
	p.cookies = append(p.cookies, endedCookies(r, t.secure, query.Get(paramState))...)
	return p
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
func (a *Auth) finish(r *http.Request, t callbackTarget, query url.Values) *reply {
	code, state := query.Get(paramCode), query.Get(paramState)
	switch {
	case query.Get(paramError) != "":
		return a.denied(r, t, query)
	case code != "" && state == "":
		return a.startAgain(r, t, refusedNoState.reply(nil))
	case code == "" || state == "":
		return a.startAgain(r, t, refusedEmpty.reply(nil))
	}
	st, refused := openState(r, t, state)
	if refused != nil {
		return a.startAgain(r, t, refused)
	}
	if err := t.app.checkInstallFrozen(r.Context(), st.User, ""); err != nil {
		return refuseStart(err).about(t.app, st.User)
	}
	p := a.redeem(r, t.app, st, code).about(t.app, st.User)
	if p.problem != nil {
		return a.startAgain(r, t, p)
	}
	a.goOn(p, t.app, st, query)
	return p
}

// openState opens a state and checks the browser.
func openState(r *http.Request, t callbackTarget, sealed string) (oauthstate.State, *reply) {
	sealer, err := t.app.sealer(r.Context())
	if err != nil {
		return oauthstate.State{}, refuseStart(err)
	}
	st, err := sealer.Open(sealed, time.Now())
	if err != nil {
		return oauthstate.State{}, refuseState(err)
	}
	return st, checkBrowser(r, t, st, sealed)
}

// checkBrowser refuses an install that another browser began.
func checkBrowser(r *http.Request, t callbackTarget, st oauthstate.State, sealed string) *reply {
	if st.BrowserHash == "" || holdsBinding(r, flowCookieName(t.secure, sealed), st.BrowserHash) {
		return nil
	}
	return refusedWrongBrowser.reply(nil)
}

// redeem trades the code for tokens and stores the connection. It goes on
// when the browser hangs up: a code works once, and what it gave would be
// lost.
func (a *Auth) redeem(r *http.Request, app *hubApp, st oauthstate.State, code string) *reply {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), installTimeout)
	defer cancel()
	used, err := app.manager.StateUsed(ctx, st.User, st.Nonce)
	if err != nil {
		return refuseConnect(err)
	}
	if used {
		return refusedUsed.reply(nil)
	}
	verifier := st.Verifier
	if st.Flow == flowMarketplace {
		verifier = ""
	}
	asked := time.Now()
	grant, err := app.exchange(ctx, code, verifier)
	if err != nil {
		app.noteRefusal(err)
		return refuseExchange(err)
	}
	summary, err := app.manager.Connect(ctx, connection.Install{
		User:              st.User,
		Grant:             grant,
		IssuedAt:          asked,
		Asked:             app.askedScopes(),
		Nonce:             st.Nonce,
		NonceUntil:        st.IssuedAt.Add(oauthstate.Lifetime + nonceMargin),
		AllowPortalChange: st.AllowPortalChange,
	})
	if err != nil {
		// The tokens are dropped and not revoked: another user of the same
		// portal may share the grant.
		return refuseConnect(err)
	}
	return connectedReply(app, summary)
}

// connected is the answer to a program that finished an install.
type connected struct {
	Message       string   `json:"message"`
	User          string   `json:"userForeignIdentifier"`
	HubID         int64    `json:"hubId"`
	MissingScopes []string `json:"missingScopes,omitempty"`
}

func connectedReply(app *hubApp, s connection.Summary) *reply {
	return &reply{
		outcome: "connected",
		status:  http.StatusOK,
		hubID:   s.HubID,
		json:    connected{Message: "User Registered", User: s.User, HubID: s.HubID, MissingScopes: s.MissingScopes},
		page: page{
			Good:    true,
			Title:   "Connected to HubSpot",
			Text:    []string{"Your HubSpot account is now connected. You can close this page."},
			App:     app.name,
			HubID:   s.HubID,
			Missing: s.MissingScopes,
		},
	}
}

// goOn sends the browser of a finished install where it is expected.
func (a *Auth) goOn(p *reply, app *hubApp, st oauthstate.State, query url.Values) {
	if query.Get(paramStep) == stepFinalize {
		if u, ok := a.hubspotURL(app, query.Get(paramReturnURL)); ok {
			p.status, p.location = http.StatusFound, u.String()
		}
		return
	}
	if address, ok := a.stillAllowed(app, st.ReturnTo); ok {
		p.status = http.StatusFound
		p.location = address.with("hubspot=connected&app=" + url.QueryEscape(app.name)).String()
	}
}

// stillAllowed checks a return_to again when it is used: the allow-list may
// have changed since the link was made.
func (a *Auth) stillAllowed(app *hubApp, returnTo string) (returnAddress, bool) {
	if returnTo == "" {
		return returnAddress{}, false
	}
	address, err := a.returnTo.check(returnTo)
	if err != nil {
		a.logger.Warn("not sending the browser back: return_to is no longer allowed", zap.String("app", app.name))
	}
	return address, err == nil
}

// errorWord is the shape of an OAuth error code (RFC 6749 4.1.2.1).
var errorWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// denied shows why HubSpot ended an install. Anybody can make such a link,
// so what it says is shown as a quotation and leads nowhere.
func (a *Auth) denied(r *http.Request, t callbackTarget, query url.Values) *reply {
	word := query.Get(paramError)
	if !errorWord.MatchString(word) {
		word = "unknown"
	}
	p := refusedDenied.reply(nil)
	p.problem.Context["error"] = []string{word}
	p.page.Quote = word
	if text := quotable(query.Get(paramErrorText)); text != "" {
		p.page.Quote = text + " (" + word + ")"
		p.problem.Context["error_description"] = []string{text}
	}
	st, refused := openState(r, t, query.Get(paramState))
	if refused != nil {
		return a.startAgain(r, t, p)
	}
	p.about(t.app, st.User)
	if address, ok := a.stillAllowed(t.app, st.ReturnTo); ok {
		return p.withLink(address.String(), "Back to the application")
	}
	return a.startAgain(r, t, p)
}

// startAgain offers a new install where one can be started from here.
func (a *Auth) startAgain(r *http.Request, t callbackTarget, p *reply) *reply {
	if !a.sessions || p.status >= http.StatusInternalServerError {
		return p
	}
	return p.withLink(publicPath(r, a.base.connect(t.app.name)), "Start again")
}

// hubletHost matches the hosts of HubSpot's own user interface.
var hubletHost = regexp.MustCompile(`^app(-[a-z0-9]{2,8})?\.hubspot\.com$`)

// hubspotURL reads a returnUrl: an address of HubSpot's user interface, or of
// the host of the configured consent page.
func (a *Auth) hubspotURL(app *hubApp, raw string) (*url.URL, bool) {
	address, err := parseReturnAddress(raw)
	if err != nil {
		return nil, false
	}
	u, err := url.Parse(address.String())
	if err != nil {
		return nil, false
	}
	if address.scheme == "https" && address.port == "" && hubletHost.MatchString(address.host) {
		return u, true
	}
	configured, err := parseReturnAddress(app.endpoints.WithDefaults().Authorize)
	same := err == nil && address.scheme == configured.scheme && strings.EqualFold(address.host, configured.host) && address.port == configured.port
	return u, same
}

// noteRefusal has credentials that are kept in the store read again when
// HubSpot does not take them.
func (h *hubApp) noteRefusal(err error) {
	if stored, ok := h.client.Credentials.(*storedCredentials); ok && isMisconfigured(err) {
		stored.refused()
	}
}
