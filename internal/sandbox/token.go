package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// appScopes are the scopes that an app's own token can have.
var appScopes = []string{
	"developer.webhooks_journal.read",
	"developer.webhooks_journal.subscriptions.read",
	"developer.webhooks_journal.subscriptions.write",
	"developer.webhooks_journal.snapshots.read",
	"developer.webhooks_journal.snapshots.write",
}

// tokenAnswer is the token endpoint's success body.
type tokenAnswer struct {
	TokenType    string   `json:"token_type"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	AccessToken  string   `json:"access_token"`
	HubID        int64    `json:"hub_id,omitempty"`
	Scopes       []string `json:"scopes"`
	ExpiresIn    int64    `json:"expires_in"`
	TokenUse     string   `json:"token_use"`

	// grant is whose token it is; nil for an app's own.
	grant *grant
}

// oauthForm reads the parameters of an OAuth endpoint: from the body only,
// except that v1 also took them from the query.
func oauthForm(r *http.Request) (url.Values, *oauthError) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errBadContentType
	}
	if err := r.ParseForm(); err != nil {
		return nil, errBadContentType
	}
	if strings.HasPrefix(r.URL.Path, "/oauth/v1/") {
		return r.Form, nil
	}
	return r.PostForm, nil
}

// client authenticates the app by client_id and client_secret.
func (w *world) client(r *http.Request, form url.Values) (*App, *oauthError) {
	app, ok := w.apps[form.Get("client_id")]
	if !ok {
		return nil, errBadClientID
	}
	noted(r).clientID = app.ClientID
	if !w.faults.accepts(app, form.Get("client_secret")) {
		return nil, errBadClientSecret
	}
	return app, nil
}

func (w *world) token(r *http.Request) reply {
	form, problem := oauthForm(r)
	if problem != nil {
		return problem.reply()
	}
	if g, _, _ := w.auth.lookupRefresh(form.Get("refresh_token")); g != nil && form.Get("grant_type") == "refresh_token" {
		// Faults that delay the answer are inside, so that two refreshes
		// of one grant at a time show in the statistics.
		g.enter()
		defer g.leave()
		noted(r).grant, noted(r).hubID = g.id, g.portal.HubID
	}
	return w.faults.applyToken(w, r, endpointToken, form, func() reply { return w.issueToken(r, form) })
}

func (w *world) issueToken(r *http.Request, form url.Values) reply {
	issue, ok := map[string]func(*http.Request, *App, url.Values) reply{
		"authorization_code": w.exchangeCode,
		"refresh_token":      w.refreshToken,
		"client_credentials": w.clientCredentials,
	}[form.Get("grant_type")]
	if !ok {
		return errBadGrantType.reply()
	}
	app, problem := w.client(r, form)
	if problem != nil {
		return problem.reply()
	}
	return issue(r, app, form)
}

func (w *world) exchangeCode(r *http.Request, app *App, form url.Values) reply {
	redirectURI := form.Get("redirect_uri")
	if redirectURI == "" || app.allowsRedirect(redirectURI) != nil {
		return errBadRedirectURI.reply()
	}
	answer, problem := w.auth.exchange(app, form.Get("code"), redirectURI, form.Get("code_verifier"))
	return w.tokenReply(r, answer, problem, "app installed")
}

func (w *world) refreshToken(r *http.Request, app *App, form url.Values) reply {
	answer, problem := w.auth.refreshGrant(app, form.Get("refresh_token"))
	return w.tokenReply(r, answer, problem, "token refreshed")
}

// tokenReply answers with the token of a grant, or the problem.
func (w *world) tokenReply(r *http.Request, answer tokenAnswer, problem *oauthError, what string) reply {
	if problem != nil {
		return problem.reply()
	}
	w.grantEvent(r, answer.grant, what)
	return oauthReply(http.StatusOK, answer)
}

// clientCredentials issues a token for the app itself. Without a scope it
// answers BAD_SCOPES, which makes it a check of the credentials.
func (w *world) clientCredentials(_ *http.Request, app *App, form url.Values) reply {
	scopes := strings.Fields(form.Get("scope"))
	unknown := func(scope string) bool { return !slices.Contains(appScopes, scope) }
	if len(scopes) == 0 || slices.ContainsFunc(scopes, unknown) {
		return errBadScopes.reply()
	}
	return oauthReply(http.StatusOK, w.auth.issueForApp(app, scopes))
}

// s256 is the code challenge of a verifier (RFC 7636, section 4.2).
func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
