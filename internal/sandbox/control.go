package sandbox

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"
)

// control guards the sandbox's own endpoints: a web page of another site must
// not be able to change anything through the visitor's browser.
func (w *world) control(h handler) handler {
	return func(r *http.Request) reply {
		if w.crossOrigin(r) {
			return sandboxError(http.StatusForbidden, "The sandbox takes no orders from web pages of another origin.")
		}
		return h(r)
	}
}

func (w *world) getFaults(*http.Request) reply { return jsonReply(http.StatusOK, w.faultState()) }

func (w *world) faultState() FaultState {
	token, api := w.faults.rules()
	out := w.auth.faultState()
	out.Token, out.API = token, api
	return out
}

func (w *world) postFaults(r *http.Request) reply {
	req, err := decodeFaults(r)
	if err != nil {
		return sandboxError(http.StatusBadRequest, err.Error())
	}
	if err := w.checkTargets(req); err != nil {
		return sandboxError(http.StatusBadRequest, err.Error())
	}
	affected, err := w.applySettings(req)
	if err != nil {
		return sandboxError(http.StatusBadRequest, err.Error())
	}
	w.faults.add(req.Token, req.API)
	w.event(r.Context(), "faults changed", slog.Int("grants", affected.Grants), slog.Int("access_tokens", affected.AccessTokens))
	state := w.faultState()
	state.Affected = &affected
	return jsonReply(http.StatusOK, state)
}

// checkTargets refuses portals and apps that do not exist: a fault aimed at
// one would never show.
func (w *world) checkTargets(req FaultRequest) error {
	var hubs []int64
	var apps []string
	for _, p := range []*int64{req.DeletePortal, req.RestorePortal} {
		if p != nil {
			hubs = append(hubs, *p)
		}
	}
	for _, s := range []*Selector{req.ExpireAccessTokens, req.Revoke, req.Uninstall} {
		if s != nil {
			hubs, apps = appendSet(hubs, s.HubID), appendSet(apps, s.ClientID)
		}
	}
	if req.Token != nil {
		hubs, apps = appendSet(hubs, req.Token.HubID), appendSet(apps, req.Token.ClientID)
	}
	if req.API != nil {
		hubs, apps = appendSet(hubs, req.API.HubID), appendSet(apps, req.API.ClientID)
	}
	for _, hub := range hubs {
		if _, ok := w.portals[hub]; !ok {
			return fmt.Errorf("there is no portal %d; there are %v", hub, slices.Sorted(maps.Keys(w.portals)))
		}
	}
	for _, app := range apps {
		if _, ok := w.apps[app]; !ok {
			return fmt.Errorf("client_id: there is no app %q", app)
		}
	}
	return nil
}

// appendSet appends v unless it is the zero value.
func appendSet[T comparable](list []T, v T) []T {
	var zero T
	if v == zero {
		return list
	}
	return append(list, v)
}

// applySettings does everything but the rules.
func (w *world) applySettings(req FaultRequest) (Affected, error) {
	var done Affected
	if req.TokenLifetime != nil {
		lifetime, err := time.ParseDuration(*req.TokenLifetime)
		if err != nil || lifetime < time.Second {
			return done, fmt.Errorf("token_lifetime: %q is not a duration of at least 1s", *req.TokenLifetime)
		}
		w.auth.setLifetime(lifetime)
	}
	w.auth.setRotation(req.RotateRefreshTokens, req.RevokeOnReuse)
	if req.DeletePortal != nil {
		w.auth.setDeleted(*req.DeletePortal, true)
	}
	if req.RestorePortal != nil {
		w.auth.setDeleted(*req.RestorePortal, false)
	}
	if req.ExpireAccessTokens != nil {
		done.AccessTokens = w.auth.expireMatching(*req.ExpireAccessTokens)
	}
	if req.Revoke != nil {
		done.Grants += w.auth.endMatching(*req.Revoke, grantRevoked)
	}
	if req.Uninstall != nil {
		done.Grants += w.auth.endMatching(*req.Uninstall, grantUninstalled)
	}
	return done, nil
}

// deleteFaults ends all faults. What they did to grants stays done.
func (w *world) deleteFaults(r *http.Request) reply {
	w.faults.clear()
	w.auth.clearFaults()
	w.event(r.Context(), "faults cleared")
	return jsonReply(http.StatusOK, w.faultState())
}

func (w *world) postReset(r *http.Request) reply {
	w.Reset()
	w.event(r.Context(), "reset")
	return reply{status: http.StatusNoContent}
}
