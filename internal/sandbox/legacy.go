package sandbox

import (
	"net/http"
)

// legacyAccessInfo is what GET /oauth/v1/access-tokens/{token} answers.
type legacyAccessInfo struct {
	Token               string       `json:"token"`
	User                string       `json:"user"`
	HubDomain           string       `json:"hub_domain"`
	Scopes              []string     `json:"scopes"`
	Signed              *signedToken `json:"signed_access_token"`
	HubID               int64        `json:"hub_id"`
	AppID               int64        `json:"app_id"`
	ExpiresIn           int64        `json:"expires_in"`
	UserID              int64        `json:"user_id"`
	TokenType           string       `json:"token_type"`
	PrivateDistribution bool         `json:"is_private_distribution"`
}

// legacyRefreshInfo is what GET /oauth/v1/refresh-tokens/{token} answers.
type legacyRefreshInfo struct {
	Token     string   `json:"token"`
	ClientID  string   `json:"client_id"`
	User      string   `json:"user"`
	HubDomain string   `json:"hub_domain"`
	HubID     int64    `json:"hub_id"`
	UserID    int64    `json:"user_id"`
	Scopes    []string `json:"scopes"`
	TokenType string   `json:"token_type"`
}

// accessTokenInfo needs no credentials, like HubSpot's.
func (w *world) accessTokenInfo(r *http.Request) reply {
	info, ok := w.describeAccess(r.PathValue("token"))
	if !ok {
		return notFound(newCorrelationID())
	}
	return oauthReply(http.StatusOK, legacyAccessInfo{
		Token: info.Token, User: info.User, HubDomain: info.HubDomain, Scopes: info.Scopes, Signed: info.Signed,
		HubID: info.HubID, AppID: info.AppID, ExpiresIn: info.ExpiresIn, UserID: info.UserID, TokenType: "access",
	})
}

func (w *world) refreshTokenInfo(r *http.Request) reply {
	info, ok := w.describeRefresh(r.PathValue("token"))
	if !ok {
		return notFound(newCorrelationID())
	}
	return oauthReply(http.StatusOK, legacyRefreshInfo{
		Token: info.Token, ClientID: info.ClientID, User: info.User, HubDomain: info.HubDomain,
		HubID: info.HubID, UserID: info.UserID, Scopes: info.Scopes, TokenType: "refresh",
	})
}

func (w *world) deleteRefreshToken(r *http.Request) reply {
	token := r.PathValue("token")
	g, _, live := w.auth.lookupRefresh(token)
	if !live || !w.revokeGrant(r, g.app, token) {
		return notFound(newCorrelationID())
	}
	return reply{status: http.StatusNoContent}.with(headerCorrelation, newCorrelationID())
}
