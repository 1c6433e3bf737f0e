package sandbox

import "net/http"

// legacyAccessInfo is what GET /oauth/v1/access-tokens/{token} answers.
type legacyAccessInfo struct {
	tokenInfo
	Signed              *signedToken `json:"signed_access_token"`
	AppID               int64        `json:"app_id"`
	ExpiresIn           int64        `json:"expires_in"`
	PrivateDistribution bool         `json:"is_private_distribution"`
}

// legacyRefreshInfo is what GET /oauth/v1/refresh-tokens/{token} answers.
type legacyRefreshInfo struct {
	tokenInfo
	ClientID string `json:"client_id"`
}

// accessTokenInfo needs no credentials, like HubSpot's.
func (w *world) accessTokenInfo(r *http.Request) reply {
	info, ok := w.describeAccess(r.PathValue("token"))
	if !ok {
		return notFound(newCorrelationID())
	}
	info.TokenType = "access"
	return oauthReply(http.StatusOK, legacyAccessInfo{
		tokenInfo: info.tokenInfo, Signed: info.Signed, AppID: info.AppID, ExpiresIn: info.ExpiresIn,
	})
}

func (w *world) refreshTokenInfo(r *http.Request) reply {
	info, ok := w.describeRefresh(r.PathValue("token"))
	if !ok {
		return notFound(newCorrelationID())
	}
	info.TokenType = "refresh"
	return oauthReply(http.StatusOK, legacyRefreshInfo{tokenInfo: info.tokenInfo, ClientID: info.ClientID})
}

func (w *world) deleteRefreshToken(r *http.Request) reply {
	token := r.PathValue("token")
	g, _, live := w.auth.lookupRefresh(token)
	if !live || !w.revokeGrant(r, g.app, token) {
		return notFound(newCorrelationID())
	}
	return reply{status: http.StatusNoContent}.with(headerCorrelation, newCorrelationID())
}
