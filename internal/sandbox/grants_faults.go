package sandbox

import (
	"maps"
	"slices"
)

// Selector picks grants; each field that is set narrows it. Its zero value
// picks all.
type Selector struct {
	// Grant is the opaque id that the statistics show.
	Grant    string `json:"grant,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	HubID    int64  `json:"hub_id,omitempty"`
}

func (s Selector) matches(g *grant) bool {
	return (s.Grant == "" || s.Grant == g.id) &&
		(s.ClientID == "" || s.ClientID == g.app.ClientID) &&
		(s.HubID == 0 || s.HubID == g.portal.HubID)
}

// apply does everything that a request to /_sandbox/faults asks for but the
// rules.
func (a *authority) apply(req FaultRequest) (done Affected) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.TokenLifetime != nil {
		a.lifetime = req.lifetime
	}
	if req.RotateRefreshTokens != nil {
		a.rotate = *req.RotateRefreshTokens
	}
	if req.RevokeOnReuse != nil {
		a.revokeReused = *req.RevokeOnReuse
	}
	if req.DeletePortal != nil {
		a.deleted[*req.DeletePortal] = true
	}
	if req.RestorePortal != nil {
		delete(a.deleted, *req.RestorePortal)
	}
	if req.ExpireAccessTokens != nil {
		done.AccessTokens = a.expireMatching(*req.ExpireAccessTokens)
	}
	if req.Revoke != nil {
		done.Grants += a.endMatching(*req.Revoke, grantRevoked)
	}
	if req.RevokeStaticTokens != nil {
		done.AccessTokens += a.endStatic(*req.RevokeStaticTokens)
	}
	if req.Uninstall != nil {
		done.Grants += a.endMatching(*req.Uninstall, grantUninstalled)
	}
	return done
}

// uninstall removes an app from an account.
func (a *authority) uninstall(s Selector) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endMatching(s, grantUninstalled)
}

// endMatching brings the grants that s picks into the state, unless they are
// there or beyond it, and says how many. The caller holds the lock.
func (a *authority) endMatching(s Selector, state grantState) int {
	n := 0
	for _, g := range a.all {
		if s.matches(g) && g.state != state && g.state != grantUninstalled {
			a.end(g, state)
			n++
		}
	}
	return n
}

// expireMatching expires the access tokens of the grants that s picks, now,
// and says how many. The caller holds the lock.
func (a *authority) expireMatching(s Selector) int {
	now, n := a.now(), 0
	for _, t := range a.access {
		if t.grant != nil && t.app != &staticApp && s.matches(t.grant) && now.Before(t.expires) {
			t.expires = now
			n++
		}
	}
	return n
}

func (a *authority) clearFaults() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lifetime, a.rotate, a.revokeReused = a.baseLifetime, false, false
	clear(a.deleted)
}

func (a *authority) faultState() FaultState {
	a.mu.RLock()
	defer a.mu.RUnlock()
	deleted := slices.AppendSeq([]int64{}, maps.Keys(a.deleted))
	slices.Sort(deleted)
	return FaultState{
		TokenLifetime: a.lifetime.String(), RotateRefreshTokens: a.rotate, RevokeOnReuse: a.revokeReused,
		DeletedPortals: deleted,
	}
}
