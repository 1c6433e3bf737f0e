package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// tokenInfo is what every answer about a token says.
type tokenInfo struct {
	Token     string   `json:"token,omitempty"`
	HubID     int64    `json:"hub_id,omitempty"`
	UserID    int64    `json:"user_id,omitempty"`
	User      string   `json:"user,omitempty"`
	HubDomain string   `json:"hub_domain,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
}

// introspection is the answer of the dated introspection endpoint.
type introspection struct {
	Active bool `json:"active"`
	tokenInfo
	ClientID            string       `json:"client_id,omitempty"`
	AppID               int64        `json:"app_id,omitempty"`
	Signed              *signedToken `json:"signed_access_token,omitempty"`
	ExpiresIn           int64        `json:"expires_in,omitempty"`
	PrivateDistribution *bool        `json:"is_private_distribution,omitempty"`
	TokenUse            string       `json:"token_use,omitempty"`
}

// signedToken is HubSpot's internal form of the token. Nobody outside of
// HubSpot can use it; the signatures here are digests without a meaning.
type signedToken struct {
	ExpiresAt                 int64  `json:"expiresAt"`
	Scopes                    string `json:"scopes"`
	HubID                     int64  `json:"hubId"`
	UserID                    int64  `json:"userId"`
	AppID                     int64  `json:"appId"`
	AppInstallID              string `json:"appInstallId"`
	Audience                  string `json:"audience"`
	InstallingUserID          int64  `json:"installingUserId"`
	Hublet                    string `json:"hublet"`
	IsUserLevel               bool   `json:"isUserLevel"`
	IsPrivateDistribution     bool   `json:"isPrivateDistribution"`
	IsServiceAccount          bool   `json:"isServiceAccount"`
	Signature                 string `json:"signature"`
	NewSignature              string `json:"newSignature"`
	ScopeToScopeGroupPks      string `json:"scopeToScopeGroupPks"`
	TrialScopes               string `json:"trialScopes"`
	TrialScopeToScopeGroupPks string `json:"trialScopeToScopeGroupPks"`
}

// introspect is RFC 7662 the way HubSpot does it.
func (w *world) introspect(r *http.Request) reply {
	app, token, problem := w.tokenForm(r)
	if problem != nil {
		return problem.reply()
	}
	if answer, ok := w.describeAccess(token); ok && answer.ClientID == app.ClientID {
		return oauthReply(http.StatusOK, answer)
	}
	if answer, ok := w.describeRefresh(token); ok && answer.ClientID == app.ClientID {
		return oauthReply(http.StatusOK, answer)
	}
	return oauthReply(http.StatusOK, introspection{})
}

// tokenForm reads what introspection and revocation have in common. HubSpot's
// guide names the field after the hint, its specification and SDKs "token";
// both are understood.
func (w *world) tokenForm(r *http.Request) (*App, string, *oauthError) {
	form, problem := oauthForm(r)
	if problem != nil {
		return nil, "", problem
	}
	app, problem := w.client(r, form)
	if problem != nil {
		return nil, "", problem
	}
	token := cmp.Or(form.Get("token"), form.Get("refresh_token"), form.Get("access_token"))
	if token == "" {
		return nil, "", errMissingTokenParam
	}
	return app, token, nil
}

// describeAccess describes a live access token of a portal.
func (w *world) describeAccess(token string) (introspection, bool) {
	t, known, alive := w.auth.lookupAccess(token)
	left := t.expires.Sub(w.opts.Now())
	if !known || !alive || left <= 0 || t.grant == nil {
		return introspection{}, false
	}
	answer := describeGrant(t.grant, t.scopes)
	answer.Token, answer.TokenUse = token, "access_token"
	answer.ExpiresIn = int64(left / time.Second)
	answer.PrivateDistribution = new(bool)
	answer.Signed = signed(t, token)
	return answer, true
}

func (w *world) describeRefresh(token string) (introspection, bool) {
	g, scopes, live := w.auth.lookupRefresh(token)
	if !live {
		return introspection{}, false
	}
	answer := describeGrant(g, scopes)
	answer.Token, answer.TokenUse = token, "refresh_token"
	return answer, true
}

func describeGrant(g *grant, scopes []string) introspection {
	return introspection{
		Active: true, ClientID: g.app.ClientID, AppID: g.app.AppID,
		tokenInfo: tokenInfo{
			HubID: g.portal.HubID, UserID: g.person.id, User: g.person.email, HubDomain: g.portal.HubDomain,
			Scopes: scopes, TokenType: "Bearer",
		},
	}
}

func signed(t accessToken, token string) *signedToken {
	digest := sha256.Sum256([]byte("signature of " + token))
	scopes := base64.StdEncoding.EncodeToString([]byte(strings.Join(t.scopes, " ")))
	return &signedToken{
		ExpiresAt: t.expires.UnixMilli(), Scopes: scopes,
		HubID: t.grant.portal.HubID, UserID: t.grant.person.id, AppID: t.app.AppID,
		AppInstallID: t.grant.id, InstallingUserID: t.grant.person.id, Hublet: t.grant.portal.Hublet,
		IsUserLevel:          t.app.UserLevel,
		Signature:            base64.StdEncoding.EncodeToString(digest[:20]),
		NewSignature:         base64.StdEncoding.EncodeToString(digest[:]),
		ScopeToScopeGroupPks: scopes,
	}
}

// revoke kills a refresh token. Access tokens made with it live on, and the
// app stays installed. As in RFC 7009, an unknown token is no error.
func (w *world) revoke(r *http.Request) reply {
	form, problem := oauthForm(r)
	if problem != nil {
		return problem.reply()
	}
	if g, _, _ := w.auth.lookupRefresh(form.Get("token")); g != nil {
		g.revocations.Add(1)
		noted(r).grant, noted(r).hubID = g.id, g.portal.HubID
	}
	return w.faults.applyToken(w, r, endpointRevoke, form, func() reply { return w.revokeToken(r) })
}

func (w *world) revokeToken(r *http.Request) reply {
	app, token, problem := w.tokenForm(r)
	if problem != nil {
		return problem.reply()
	}
	w.revokeGrant(r, app, token)
	return reply{status: http.StatusOK}.
		with(headerCorrelation, newCorrelationID()).with("Cache-Control", "no-store")
}

func (w *world) revokeGrant(r *http.Request, app *App, token string) bool {
	g := w.auth.revokeToken(app, token)
	if g != nil {
		w.grantEvent(r, g, "grant revoked")
	}
	return g != nil
}

// uninstall removes the app from the account of the token, as the user could
// under Connected apps.
func (w *world) uninstall(c *call) reply {
	g := c.token.grant
	w.auth.uninstall(Selector{ClientID: g.app.ClientID, HubID: g.portal.HubID})
	w.grantEvent(c.Request, g, "app uninstalled")
	return reply{status: http.StatusNoContent}
}
