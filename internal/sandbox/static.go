package sandbox

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// staticApp stands for the apps with static auth and the service keys of all
// portals. It has no credentials, and nobody can install it.
var staticApp = App{ClientID: "static", AppID: 5150999}

// staticLife is as good as for ever.
const staticLife = 100 * 365 * 24 * time.Hour

// StaticTokenRequest is the body of POST /_sandbox/static-tokens, which is what
// HubSpot's page of service keys, or of an app with static auth, is for.
type StaticTokenRequest struct {
	// HubID is the portal that the token opens.
	HubID int64 `json:"hub_id"`
	// Scopes are those of the token. Empty: oauth, and reading and writing
	// of all objects.
	Scopes []string `json:"scopes"`
}

// postStaticToken makes a static token: it works until a fault ends it.
func (w *world) postStaticToken(r *http.Request) reply {
	var req StaticTokenRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if dec.Decode(&req) != nil || dec.More() {
		return sandboxError(http.StatusBadRequest, `Send one JSON object such as {"hub_id":62515001}.`)
	}
	portal := w.portals[req.HubID]
	if portal == nil {
		return sandboxError(http.StatusBadRequest, w.noPortal(req.HubID).Error())
	}
	if slices.Contains(req.Scopes, "") {
		return sandboxError(http.StatusBadRequest, errors.New("scopes: one of them is empty").Error())
	}
	token := w.auth.newStatic(portal.Portal, req.Scopes)
	w.event(r.Context(), "static token made", slog.Int64("hub_id", req.HubID))
	return jsonReply(http.StatusOK, map[string]any{"token": token, "hub_id": req.HubID}).with("Cache-Control", "no-store")
}

// newStatic makes a static token of a portal. It has a grant of its own, which
// is no installed app's.
func (a *authority) newStatic(p *Portal, scopes []string) string {
	if len(scopes) == 0 {
		scopes = []string{"oauth"}
		for _, kind := range objectTypes {
			scopes = append(scopes, "crm.objects."+kind.name+".read", "crm.objects."+kind.name+".write")
		}
	}
	token := "pat-" + p.Hublet + "-" + uuid.NewString()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access[token] = &accessToken{
		app: &staticApp, scopes: scopes, expires: a.now().Add(staticLife),
		grant: &grant{id: "s_" + randomText(16), app: &staticApp, portal: p, state: grantActive, scopes: scopes},
	}
	return token
}

// endStatic ends the static tokens that s picks, and says how many. The caller
// holds the lock.
func (a *authority) endStatic(s Selector) int {
	n := 0
	for token, t := range a.access {
		if t.app == &staticApp && s.matches(t.grant) {
			delete(a.access, token)
			n++
		}
	}
	return n
}
