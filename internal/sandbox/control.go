package sandbox

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/journal"
)

// control guards the sandbox's own endpoints: a web page of another site must
// not be able to change anything through the visitor's browser.
func (w *world) control(h handler) handler {
	return func(r *http.Request) reply {
		if w.origins.Check(r) != nil {
			return sandboxError(http.StatusForbidden, "The sandbox takes no orders from web pages of another origin.")
		}
		return h(r)
	}
}

func (w *world) getFaults(*http.Request) reply { return jsonReply(http.StatusOK, w.faultState()) }

func (w *world) faultState() FaultState {
	token, api := w.faults.rules()
	out := w.auth.faultState()
	out.Token, out.API, out.ClientSecrets = token, api, w.faults.validSecrets(w.apps)
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
	affected := w.auth.apply(req)
	if req.Journal != nil {
		w.journal.Apply(*req.Journal)
	}
	if req.Webhooks != nil {
		w.webhooks.SetFault(req.Webhooks)
	}
	w.faults.add(req.Token, req.API)
	if rule := req.ClientSecrets; rule != nil {
		w.faults.endSecret(w.apps[rule.ClientID], rule.Valid)
	}
	w.event(r.Context(), "faults changed", slog.Int("grants", affected.Grants), slog.Int("access_tokens", affected.AccessTokens))
	state := w.faultState()
	state.Affected = &affected
	return jsonReply(http.StatusOK, state)
}

// checkTargets refuses portals and apps that do not exist: a fault aimed at
// one would never show.
func (w *world) checkTargets(req FaultRequest) error {
	for _, hub := range []*int64{req.DeletePortal, req.RestorePortal} {
		if hub != nil && w.portals[*hub] == nil {
			return w.noPortal(*hub)
		}
	}
	if req.ClientSecrets != nil {
		if err := req.ClientSecrets.aim(w.apps); err != nil {
			return err
		}
	}
	targets := []*Selector{req.ExpireAccessTokens, req.Revoke, req.RevokeStaticTokens, req.Uninstall}
	if req.Token != nil {
		targets = append(targets, &Selector{HubID: req.Token.HubID, ClientID: req.Token.ClientID})
	}
	if req.API != nil {
		targets = append(targets, &Selector{HubID: req.API.HubID, ClientID: req.API.ClientID})
	}
	for _, t := range targets {
		switch {
		case t == nil:
		case t.HubID != 0 && w.portals[t.HubID] == nil:
			return w.noPortal(t.HubID)
		case t.ClientID != "" && w.apps[t.ClientID] == nil:
			return fmt.Errorf("client_id: there is no app %q", t.ClientID)
		}
	}
	return nil
}

func (w *world) noPortal(hubID int64) error {
	return fmt.Errorf("there is no portal %d; there are %v", hubID, slices.Sorted(maps.Keys(w.portals)))
}

// deleteFaults ends all faults. What they did to grants stays done.
func (w *world) deleteFaults(r *http.Request) reply {
	w.faults.clear()
	w.webhooks.SetFault(nil)
	w.auth.clearFaults()
	w.journal.Apply(journal.Fault{FilesAway: new(bool)})
	w.event(r.Context(), "faults cleared")
	return jsonReply(http.StatusOK, w.faultState())
}

func (w *world) postReset(r *http.Request) reply {
	w.Reset()
	w.event(r.Context(), "reset")
	return reply{status: http.StatusNoContent}
}
