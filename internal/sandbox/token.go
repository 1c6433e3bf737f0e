package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// appScopes are the scopes that an app's own token can have.
func appScopes() []string {
	return []string{
		"developer.webhooks_journal.read",
		"developer.webhooks_journal.subscriptions.read",
		"developer.webhooks_journal.subscriptions.write",
		"developer.webhooks_journal.snapshots.read",
		"developer.webhooks_journal.snapshots.write",
	}
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
	if !app.secretMatches(form.Get("client_secret")) {
		return nil, errBadClientSecret
	}
	return app, nil
}

// token is the token endpoint.
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
	return w.faults.applyToken(w, r, form, func() reply { return w.issueToken(r, form) })
}

func (w *world) issueToken(r *http.Request, form url.Values) reply {
	grantType := form.Get("grant_type")
	grants := map[string]func(*http.Request, *App, url.Values) reply{
		"authorization_code": w.exchangeCode,
		"refresh_token":      w.refreshToken,
		"client_credentials": w.clientCredentials,
	}
	issue, ok := grants[grantType]
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
	tokens, problem := w.auth.exchange(app, form.Get("code"), redirectURI, form.Get("code_verifier"))
	if problem != nil {
		return problem.reply()
	}
	return w.grantReply(r, tokens, "app installed")
}

func (w *world) refreshToken(r *http.Request, app *App, form url.Values) reply {
	tokens, problem := w.auth.refreshGrant(app, form.Get("refresh_token"))
	if problem != nil {
		return problem.reply()
	}
	return w.grantReply(r, tokens, "token refreshed")
}

func (w *world) grantReply(r *http.Request, tokens tokenSet, what string) reply {
	g := tokens.grant
	n := noted(r)
	n.hubID, n.grant = g.portal.HubID, g.id
	w.event(r.Context(), what,
		slog.String("client_id", g.app.ClientID), slog.Int64("hub_id", g.portal.HubID), slog.String("grant", g.id))
	return oauthReply(http.StatusOK, tokenAnswer{
		TokenType: "bearer", RefreshToken: tokens.refresh, AccessToken: tokens.access,
		HubID: g.portal.HubID, Scopes: tokens.scopes,
		ExpiresIn: int64(tokens.lifetime / time.Second), TokenUse: "access_token",
	})
}

// clientCredentials issues a token for the app itself. Without a scope it
// answers BAD_SCOPES, which makes it a check of the credentials.
func (w *world) clientCredentials(_ *http.Request, app *App, form url.Values) reply {
	scopes := strings.Fields(form.Get("scope"))
	known := appScopes()
	for _, scope := range scopes {
		if !slices.Contains(known, scope) {
			return errBadScopes.reply()
		}
	}
	if len(scopes) == 0 {
		return errBadScopes.reply()
	}
	tokens := w.auth.issueForApp(app, scopes)
	return oauthReply(http.StatusOK, tokenAnswer{
		TokenType: "bearer", AccessToken: tokens.access, Scopes: scopes,
		ExpiresIn: int64(tokens.lifetime / time.Second), TokenUse: "client_credentials",
	})
}

// s256 is the code challenge of a verifier (RFC 7636, section 4.2).
func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
