package sandbox

import (
	"maps"
	"slices"
	"time"
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

// endMatching brings the grants that s picks into the state, unless they are
// there or beyond it, and says how many.
func (a *authority) endMatching(s Selector, state grantState) int {
	a.mu.Lock()
	defer a.mu.Unlock()
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
// and says how many.
func (a *authority) expireMatching(s Selector) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, n := a.now(), 0
	for _, t := range a.access {
		if t.grant == nil || !s.matches(t.grant) || !now.Before(t.expires) {
			continue
		}
		t.expires = now
		n++
	}
	return n
}

func (a *authority) setLifetime(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lifetime = d
}

func (a *authority) setRotation(rotate, revokeReused *bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rotate != nil {
		a.rotate = *rotate
	}
	if revokeReused != nil {
		a.revokeReused = *revokeReused
	}
}

func (a *authority) setDeleted(hubID int64, deleted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if deleted {
		a.deleted[hubID] = true
		return
	}
	delete(a.deleted, hubID)
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
