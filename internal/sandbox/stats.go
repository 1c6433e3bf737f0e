package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// stats count what the sandbox was asked.
type stats struct {
	// legacyV1 counts requests to /oauth/v1, which HubSpot removes on
	// 2027-02-16.
	legacyV1 atomic.Int64
	// tokenFaults and apiFaults count requests that a fault changed.
	tokenFaults, apiFaults atomic.Int64

	mu        sync.Mutex
	endpoints map[string]map[string]int64
	portals   map[int64]*PortalStats
}

func newStats() *stats {
	return &stats{endpoints: make(map[string]map[string]int64), portals: make(map[int64]*PortalStats)}
}

// request counts a request of any endpoint. Status 0 is a connection that a
// fault dropped.
func (s *stats) request(endpoint string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints[endpoint] == nil {
		s.endpoints[endpoint] = make(map[string]int64)
	}
	s.endpoints[endpoint][strconv.Itoa(status)]++
}

// portalStatus counts an authenticated API call; hub id 0 is that of an app's
// own token.
func (s *stats) portalStatus(hubID int64, status int) {
	s.count(hubID, func(p *PortalStats) {
		p.Requests++
		p.Statuses[strconv.Itoa(status)]++
	})
}

// count lets add change the counts of a portal.
func (s *stats) count(hubID int64, add func(*PortalStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.portals[hubID] == nil {
		s.portals[hubID] = &PortalStats{HubID: hubID, Statuses: make(map[string]int64)}
	}
	add(s.portals[hubID])
}

// Stats is the body of GET /_sandbox/stats.
type Stats struct {
	// Endpoints are all requests by method and path pattern, then by
	// status; status 0 is a connection dropped by a fault.
	Endpoints map[string]map[string]int64 `json:"endpoints"`
	// LegacyV1Requests are those of /oauth/v1.
	LegacyV1Requests int64 `json:"legacy_v1_requests"`
	// Grants are all grants since the last reset, oldest first.
	Grants []GrantStats `json:"grants"`
	// Portals are the authenticated API calls by account.
	Portals []PortalStats `json:"portals"`
	// BeyondQuota is how many API calls, over all portals, arrived when a
	// quota was used up.
	BeyondQuota int64 `json:"beyond_quota"`
	// TokenFaults and APIFaults are how many requests a fault changed.
	TokenFaults int64 `json:"token_faults"`
	APIFaults   int64 `json:"api_faults"`
}

// GrantStats is what happened to one grant: an app in a portal, from its
// first install to its end.
type GrantStats struct {
	// Grant is opaque and not secret.
	Grant    string `json:"grant"`
	ClientID string `json:"client_id"`
	HubID    int64  `json:"hub_id"`
	// Status is active, revoked or uninstalled.
	Status string `json:"status"`
	// Installs are authorization codes exchanged.
	Installs int64 `json:"installs"`
	// Refreshes are successful refreshes.
	Refreshes int64 `json:"refreshes"`
	// RefusedRefreshes are those answered with BAD_REFRESH_TOKEN or BAD_HUB.
	RefusedRefreshes int64 `json:"refused_refreshes"`
	// Revocations are requests to revoke its refresh token, those that a
	// fault kept from doing it too.
	Revocations int64 `json:"revocations"`
	// MaxConcurrentRefreshes is the largest number of refreshes that were
	// under way at the same time, over all processes; 1 is ideal.
	MaxConcurrentRefreshes int64 `json:"max_concurrent_refreshes"`
}

// PortalStats are the API calls of one account, over all apps.
type PortalStats struct {
	// HubID is 0 for tokens of apps themselves (client credentials).
	HubID    int64            `json:"hub_id"`
	Requests int64            `json:"requests"`
	Statuses map[string]int64 `json:"statuses"`
	// BeyondBurst and BeyondSearch are calls that arrived when that quota
	// was used up.
	BeyondBurst  int64 `json:"beyond_burst"`
	BeyondSearch int64 `json:"beyond_search"`
}

// Stats returns a snapshot of the counters, as GET /_sandbox/stats does.
func (s *Sandbox) Stats() Stats { return s.world.Load().snapshot() }

func (w *world) getStats(*http.Request) reply { return jsonReply(http.StatusOK, w.snapshot()) }

func (w *world) snapshot() Stats {
	out := w.stats.snapshot()
	out.Grants = w.auth.grantStats()
	return out
}

func (s *stats) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{
		Endpoints:        make(map[string]map[string]int64, len(s.endpoints)),
		LegacyV1Requests: s.legacyV1.Load(),
		Portals:          make([]PortalStats, 0, len(s.portals)),
		TokenFaults:      s.tokenFaults.Load(), APIFaults: s.apiFaults.Load(),
	}
	for name, byStatus := range s.endpoints {
		out.Endpoints[name] = maps.Clone(byStatus)
	}
	for _, hubID := range slices.Sorted(maps.Keys(s.portals)) {
		row := *s.portals[hubID]
		row.Statuses = maps.Clone(row.Statuses)
		out.Portals = append(out.Portals, row)
		out.BeyondQuota += row.BeyondBurst + row.BeyondSearch
	}
	return out
}
