package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The sandbox's own parameters of the authorize URL, for scripts.
const (
	paramApprove  = "_sandbox_approve"  // a hub id: consent there, without a page
	paramOptional = "_sandbox_optional" // with it: the optional scopes to grant; default all
	paramPerson   = "_sandbox_person"   // with it: the number of the person who consents; default the portal's
	paramDeny     = "_sandbox_deny"     // an error code: send it to the app, without a page
)

// install is an authorize URL that has been found good.
type install struct {
	app         *App
	redirectURI string
	state       string
	hasState    bool
	required    []string // required and conditionally required ones
	optional    []string
	challenge   string
	fixedHub    int64 // of /oauth/{hubId}/authorize, else zero
}

// problemPage is a message that HubSpot shows on its page instead of going on,
// and a hint that HubSpot does not give.
func problemPage(status int, message, hint string) reply {
	return messagePage(status, "We couldn’t connect the app", message, hint)
}

// notInstallable is the answer to an authorize URL that is not good.
func notInstallable(message, hint string) *reply {
	return new(problemPage(http.StatusBadRequest, message, hint))
}

func messagePage(status int, heading, message, hint string) reply {
	return renderPage(status, "message.html", heading+" – HubSpot sandbox",
		map[string]string{"Heading": heading, "Message": message, "Hint": hint})
}

// authorize shows the consent page, or does at once what a script asks for.
func (w *world) authorize(r *http.Request) reply {
	query := r.URL.Query()
	in, bad := w.parseInstall(query, r.PathValue("hubId"))
	if bad != nil {
		return *bad
	}
	noted(r).clientID = in.app.ClientID
	scripted := query.Has(paramApprove) || query.Has(paramDeny)
	// Another port of localhost is the same site.
	if scripted && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return problemPage(http.StatusForbidden,
			"The sandbox does not consent on behalf of a page of another site.",
			paramApprove+" and "+paramDeny+" are for scripts and for pages on localhost.")
	}
	switch {
	case query.Has(paramDeny):
		return in.redirect(url.Values{
			"error":             {query.Get(paramDeny)},
			"error_description": {"The user denied the app access (sandbox)"},
		})
	case query.Has(paramApprove):
		optional := in.optional
		if query.Has(paramOptional) {
			optional = strings.Fields(query.Get(paramOptional))
		}
		return w.approve(r, in, consent{hubID: query.Get(paramApprove), person: query.Get(paramPerson), optional: optional})
	}
	return w.consentPage(in, r.PathValue("hubId"), query)
}

// parseInstall checks an authorize URL as HubSpot does.
func (w *world) parseInstall(query url.Values, hubID string) (*install, *reply) {
	app, ok := w.apps[query.Get("client_id")]
	if !ok {
		return nil, notInstallable("Authorization failed because the client ID is missing or doesn't match any app.", "client_id is not that of a configured app.")
	}
	in := &install{
		app: app, redirectURI: query.Get("redirect_uri"),
		state: query.Get("state"), hasState: query.Has("state"),
		required: strings.Fields(query.Get("scope")), optional: strings.Fields(query.Get("optional_scope")),
		challenge: query.Get("code_challenge"),
	}
	if err := app.allowsRedirect(in.redirectURI); err != nil {
		return nil, notInstallable("Authorization failed as the redirect URL '"+in.redirectURI+"' doesn't match the app's registered redirect URL", "redirect_uri: "+err.Error()+".")
	}
	if bad := in.checkScopes(); bad != nil {
		return nil, bad
	}
	if kind := query.Get("response_type"); kind != "" && kind != "code" {
		return nil, notInstallable("Authorization failed because the response type isn't supported.", "response_type must be code, or absent.")
	}
	if in.challenge != "" && query.Get("code_challenge_method") != "S256" {
		return nil, notInstallable("Authorization failed because the code challenge method isn't supported.", "code_challenge_method must be S256.")
	}
	if hubID == "" {
		return in, nil
	}
	p := w.openPortal(hubID)
	if p == nil {
		return nil, notInstallable("Authorization failed because you don't have access to this account.", "there is no portal with the hub id in the path.")
	}
	in.fixedHub = p.HubID
	return in, nil
}

// openPortal returns the portal of a hub id, or nil if there is none or a
// fault has deleted it.
func (w *world) openPortal(hubID string) *portal {
	id, err := strconv.ParseInt(hubID, 10, 64)
	if err != nil || !w.auth.portalExists(id) {
		return nil
	}
	return w.portals[id]
}

// checkScopes applies the rules of
// knowledge.hubspot.com/integrations/resolve-a-request-for-integration-permissions-error.
func (in *install) checkScopes() *reply {
	for _, scope := range in.app.Scopes {
		if !slices.Contains(in.required, scope) {
			return notInstallable("Authorization failed because the provided scopes are insufficient", "the required scope "+scope+" is not in scope.")
		}
	}
	const mismatch = "Authorization failed because there is a mismatch between the scopes in the install URL and the app's configured scopes"
	for _, scope := range in.required {
		if !slices.Contains(in.app.Scopes, scope) && !slices.Contains(in.app.ConditionalScopes, scope) {
			return notInstallable(mismatch, scope+" is in scope, but the app has it as neither required nor conditionally required.")
		}
	}
	for _, scope := range in.optional {
		if !slices.Contains(in.app.OptionalScopes, scope) {
			return notInstallable(mismatch, scope+" is in optional_scope, but is not an optional scope of the app.")
		}
	}
	return nil
}

type consentPortal struct {
	*Portal
	Chosen  bool
	Missing []string
}

func (w *world) consentPage(in *install, hubID string, query url.Values) reply {
	// The form carries the authorize URL and a proof that it comes from
	// this page; a page of another site can neither read nor make one.
	query.Set("hubId", hubID)
	request := query.Encode()
	var portals []consentPortal
	for i := range w.opts.Portals {
		p := &w.opts.Portals[i]
		if !w.auth.portalExists(p.HubID) || in.fixedHub != 0 && in.fixedHub != p.HubID {
			continue
		}
		missing := slices.DeleteFunc(slices.Concat(in.required, in.optional), func(s string) bool { return !p.lacks(s) })
		portals = append(portals, consentPortal{Portal: p, Chosen: len(portals) == 0, Missing: missing})
	}
	return renderPage(http.StatusOK, "consent.html", "Connect an app – HubSpot sandbox", map[string]any{
		"ClientID": in.app.ClientID, "UserLevel": in.app.UserLevel, "RedirectURI": in.redirectURI,
		"Request": request, "Token": w.formToken(request),
		"Portals": portals, "Required": in.required, "Optional": in.optional,
	})
}

// formToken proves that a consent form was made by this sandbox.
func (s *Sandbox) formToken(request string) string {
	mac := hmac.New(sha256.New, s.formKey)
	_, _ = mac.Write([]byte(request))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (w *world) consent(r *http.Request) reply {
	if w.origins.Check(r) != nil {
		return problemPage(http.StatusForbidden, "This form was sent by a page of another site.", "")
	}
	if err := r.ParseForm(); err != nil {
		return problemPage(http.StatusBadRequest, "The form could not be read.", "")
	}
	request := r.PostForm.Get("request")
	if !hmac.Equal([]byte(r.PostForm.Get("token")), []byte(w.formToken(request))) {
		return problemPage(http.StatusForbidden, "This form is not from this sandbox, or from before its last start.", "open the app's install link again.")
	}
	query, err := url.ParseQuery(request)
	if err != nil {
		return problemPage(http.StatusBadRequest, "The form could not be read.", "")
	}
	in, bad := w.parseInstall(query, query.Get("hubId"))
	if bad != nil {
		return *bad
	}
	noted(r).clientID = in.app.ClientID
	if r.PostForm.Get("action") != "connect" {
		return messagePage(http.StatusOK, "Not connected",
			"You cancelled. The app is not told: HubSpot sends it no request in this case.",
			"add "+paramDeny+"=access_denied to the install URL to see how the app takes an error.")
	}
	return w.approve(r, in, consent{hubID: r.PostForm.Get("hub_id"), person: r.PostForm.Get("person"), optional: r.PostForm["optional"]})
}

// consent is what somebody has agreed to.
type consent struct {
	hubID string
	// person is the number of who it is; empty is the portal's.
	person string
	// optional are the optional scopes.
	optional []string
}

// approve records the consent and sends the browser back to the app.
func (w *world) approve(r *http.Request, in *install, given consent) reply {
	p := w.openPortal(given.hubID)
	if p == nil {
		return problemPage(http.StatusBadRequest, "Authorization failed because you don't have access to this account.", "there is no such portal.")
	}
	by, err := p.personNamed(given.person)
	if err != nil {
		return problemPage(http.StatusBadRequest, "Authorization failed because you don't have access to this account.", err.Error()+".")
	}
	if in.fixedHub != 0 && in.fixedHub != p.HubID {
		return problemPage(http.StatusBadRequest, "Authorization failed because the install URL is for another account.", "the hub id in the path is another one.")
	}
	granted, lacking := p.grantable(in, given.optional)
	if len(lacking) > 0 {
		return problemPage(http.StatusForbidden, "Authorization failed because this account doesn't have access to all of the app's required scopes", "the account lacks "+strings.Join(lacking, ", ")+".")
	}
	code := w.auth.newCode(authCode{
		app: in.app, portal: p.Portal, person: by, scopes: granted, redirectURI: in.redirectURI, challenge: in.challenge,
	})
	noted(r).hubID = p.HubID
	w.event(r.Context(), "consent given", slog.String("client_id", in.app.ClientID), slog.Int64("hub_id", p.HubID))
	return in.redirect(url.Values{"code": {code}})
}

// grantable splits what is asked for: optional scopes that were declined or
// that the account lacks are dropped silently, required ones cannot be.
func (p *Portal) grantable(in *install, ticked []string) (granted, lacking []string) {
	for _, scope := range in.required {
		if p.lacks(scope) {
			lacking = append(lacking, scope)
			continue
		}
		granted = append(granted, scope)
	}
	for _, scope := range in.optional {
		if slices.Contains(ticked, scope) && !p.lacks(scope) && !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	return granted, lacking
}

// redirect sends the browser to the app with the parameters and the state.
// The answer has no body: it would only repeat the code.
func (in *install) redirect(params url.Values) reply {
	if in.hasState {
		params.Set("state", in.state)
	}
	target, err := url.Parse(in.redirectURI)
	if err != nil {
		// allowsRedirect accepts only what parses or equals a checked setting.
		return sandboxError(http.StatusInternalServerError, "The redirect URL cannot be parsed.")
	}
	if target.RawQuery != "" {
		target.RawQuery += "&"
	}
	target.RawQuery += params.Encode()
	return reply{status: http.StatusFound}.
		with("Location", target.String()).
		with("Cache-Control", "no-store").with("Referrer-Policy", "no-referrer")
}
