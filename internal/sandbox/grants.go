package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/journal"
)

type grantState string

const (
	grantActive grantState = "active"
	// grantRevoked: the refresh token is dead, issued access tokens live on
	// until they expire (HubSpot's revocation does no more than that).
	grantRevoked grantState = "revoked"
	// grantUninstalled: the app was removed from the account; nothing works.
	grantUninstalled grantState = "uninstalled"
)

// grant is one app installed in one portal, or, of a user-level app, by one
// person of it. HubSpot gives every connection of these the same refresh token. The fields below the line belong to the
// authority's lock, the counters to themselves.
type grant struct {
	id     string // opaque, for statistics and faults
	app    *App
	portal *Portal
	person person

	state   grantState
	scopes  []string
	refresh string // the current refresh token

	installs, refreshes, refused, revocations atomic.Int64

	inFlight, maxInFlight atomic.Int64
}

// enter counts a refresh under way; the caller calls leave afterwards.
func (g *grant) enter() {
	n := g.inFlight.Add(1)
	for {
		old := g.maxInFlight.Load()
		if n <= old || g.maxInFlight.CompareAndSwap(old, n) {
			return
		}
	}
}

func (g *grant) leave() { g.inFlight.Add(-1) }

// authCode is what the consent page hands out.
type authCode struct {
	app         *App
	portal      *Portal
	person      person
	scopes      []string
	redirectURI string
	challenge   string // S256 code challenge; empty without PKCE
	expires     time.Time
}

// accessToken is an issued access token. A client-credentials token has no
// grant and no portal.
type accessToken struct {
	app     *App
	grant   *grant
	scopes  []string
	expires time.Time
}

// grantKey has no user for an app that is not user-level.
type grantKey struct {
	clientID string
	hubID    int64
	userID   int64
}

func keyOf(app *App, portal *Portal, by person) grantKey {
	if !app.UserLevel {
		by.id = 0
	}
	return grantKey{app.ClientID, portal.HubID, by.id}
}

// authority issues and knows codes and tokens.
type authority struct {
	now          func() time.Time
	codeLifetime time.Duration
	baseLifetime time.Duration
	logger       *slog.Logger
	// lived is told of installs and uninstalls, with the journal's name of
	// the event. It is called with the lock held.
	lived func(g *grant, eventTypeID string)

	mu        sync.RWMutex
	current   map[grantKey]*grant // the installed grant of app and portal
	all       []*grant            // every grant there ever was, in order
	refresh   map[string]*grant   // every refresh token ever issued
	access    map[string]*accessToken
	codes     map[string]*authCode
	stateFile string // what is installed is kept there, unless it is empty
	sweepAt   int    // number of tokens and codes at which the expired ones go

	// The rest is set by faults.
	deleted      map[int64]bool
	lifetime     time.Duration
	rotate       bool
	revokeReused bool
}

func newAuthority(o Options) *authority {
	return &authority{
		now: o.Now, codeLifetime: o.AuthCodeLifetime,
		baseLifetime: o.TokenLifetime, lifetime: o.TokenLifetime,
		current: make(map[grantKey]*grant), refresh: make(map[string]*grant),
		access: make(map[string]*accessToken), codes: make(map[string]*authCode),
		deleted: make(map[int64]bool), sweepAt: 4096,
		stateFile: o.StateFile, logger: o.Logger,
	}
}

// randomText is 3n/4 random bytes as n base64url characters.
func randomText(n int) string {
	raw := make([]byte, n*3/4)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(raw)
}

// hubletToken has the form of HubSpot's codes and refresh tokens.
func hubletToken(p *Portal) string { return p.Hublet + "-" + uuid.NewString() }

// newCode records the user's consent.
func (a *authority) newCode(c authCode) string {
	code := hubletToken(c.portal)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep()
	c.expires = a.now().Add(a.codeLifetime)
	a.codes[code] = &c
	return code
}

// exchange trades a code for tokens. The code is used up only by success.
func (a *authority) exchange(app *App, code, redirectURI, verifier string) (tokenAnswer, *oauthError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.codes[code]
	switch {
	case !ok || c.app != app:
		return tokenAnswer{}, errBadAuthCode
	case !a.now().Before(c.expires):
		return tokenAnswer{}, errExpiredAuthCode
	case c.redirectURI != redirectURI:
		return tokenAnswer{}, errMismatchRedirect
	case c.challenge != "" && s256(verifier) != c.challenge:
		return tokenAnswer{}, errBadCodeVerifier
	case a.deleted[c.portal.HubID]:
		return tokenAnswer{}, errBadHub
	}
	delete(a.codes, code)
	g := a.install(c)
	return a.issue(g), nil
}

// install makes the grant of a consent, or brings the existing one up to
// date: the same app in the same portal keeps its refresh token.
func (a *authority) install(c *authCode) *grant {
	g, ok := a.current[keyOf(c.app, c.portal, c.person)]
	if !ok {
		g = &grant{
			id: "g_" + randomText(16), app: c.app, portal: c.portal, person: c.person,
			state: grantActive, refresh: hubletToken(c.portal),
		}
		a.add(g)
		a.lived(g, journal.TypeInstall)
	}
	g.scopes = c.scopes
	g.installs.Add(1)
	a.keep()
	return g
}

// add registers a new grant. The caller holds the lock.
func (a *authority) add(g *grant) {
	a.current[keyOf(g.app, g.portal, g.person)] = g
	a.all = append(a.all, g)
	a.refresh[g.refresh] = g
}

// issue makes an access token for a grant. The caller holds the lock.
func (a *authority) issue(g *grant) tokenAnswer {
	answer := a.issueAccess(&accessToken{app: g.app, grant: g, scopes: g.scopes}, "access_token")
	answer.grant, answer.HubID, answer.RefreshToken = g, g.portal.HubID, g.refresh
	return answer
}

// issueAccess makes an access token. The caller holds the lock.
func (a *authority) issueAccess(t *accessToken, use string) tokenAnswer {
	a.sweep()
	access := "C" + randomText(200)
	t.expires = a.now().Add(a.lifetime)
	a.access[access] = t
	return tokenAnswer{
		TokenType: "bearer", AccessToken: access, Scopes: t.scopes,
		ExpiresIn: int64(a.lifetime / time.Second), TokenUse: use,
	}
}

// refreshGrant trades a refresh token for a new access token. Older access
// tokens stay valid.
func (a *authority) refreshGrant(app *App, token string) (tokenAnswer, *oauthError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.refresh[token]
	if !ok || g.app != app {
		return tokenAnswer{}, errBadRefreshToken
	}
	if a.deleted[g.portal.HubID] {
		g.refused.Add(1)
		return tokenAnswer{}, errBadHub
	}
	if g.state != grantActive || g.refresh != token {
		g.refused.Add(1)
		if a.revokeReused && g.state == grantActive {
			a.end(g, grantRevoked)
		}
		return tokenAnswer{}, errBadRefreshToken
	}
	if a.rotate {
		g.refresh = hubletToken(g.portal)
		a.refresh[g.refresh] = g
		a.keep()
	}
	g.refreshes.Add(1)
	return a.issue(g), nil
}

func (a *authority) issueForApp(app *App, scopes []string) tokenAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issueAccess(&accessToken{app: app, scopes: scopes}, "client_credentials")
}

// end takes a grant out of use. A later consent makes a new one.
func (a *authority) end(g *grant, state grantState) {
	if state == grantUninstalled && g.state != grantUninstalled {
		a.lived(g, journal.TypeUninstall)
	}
	g.state = state
	key := keyOf(g.app, g.portal, g.person)
	if a.current[key] == g {
		delete(a.current, key)
	}
	a.keep()
}

// revokeToken revokes the grant of a refresh token of the app. It reports
// the grant, nil if there is none that is alive.
func (a *authority) revokeToken(app *App, token string) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.refresh[token]
	if !ok || g.app != app || g.state != grantActive {
		return nil
	}
	a.end(g, grantRevoked)
	return g
}

// lookupAccess returns a copy of what is known of an access token, and
// whether its grant and portal still exist.
func (a *authority) lookupAccess(token string) (t accessToken, known, alive bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	found, ok := a.access[token]
	if !ok {
		return accessToken{}, false, false
	}
	if found.grant == nil {
		return *found, true, true
	}
	g := found.grant
	return *found, true, g.state != grantUninstalled && !a.deleted[g.portal.HubID]
}

// lookupRefresh returns the grant that a refresh token belongs to, the scopes
// of it, and whether the token still works.
func (a *authority) lookupRefresh(token string) (g *grant, scopes []string, live bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	g, ok := a.refresh[token]
	if !ok {
		return nil, nil, false
	}
	live = g.state == grantActive && g.refresh == token && !a.deleted[g.portal.HubID]
	return g, g.scopes, live
}

// portalExists reports whether the portal has not been deleted by a fault.
func (a *authority) portalExists(hubID int64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return !a.deleted[hubID]
}

// sweep forgets tokens and codes that expired more than an hour ago. It works
// in proportion to what was issued since the last time.
func (a *authority) sweep() {
	if len(a.access)+len(a.codes) < a.sweepAt {
		return
	}
	limit := a.now().Add(-time.Hour)
	for token, t := range a.access {
		if t.expires.Before(limit) {
			delete(a.access, token)
		}
	}
	for code, c := range a.codes {
		if c.expires.Before(limit) {
			delete(a.codes, code)
		}
	}
	a.sweepAt = max(4096, 2*(len(a.access)+len(a.codes)))
}

// grantStats describes all grants that there ever were.
func (a *authority) grantStats() []GrantStats {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]GrantStats, len(a.all))
	for i, g := range a.all {
		out[i] = GrantStats{
			Grant: g.id, ClientID: g.app.ClientID, HubID: g.portal.HubID, Status: string(g.state),
			Installs: g.installs.Load(), Refreshes: g.refreshes.Load(),
			RefusedRefreshes: g.refused.Load(), Revocations: g.revocations.Load(), MaxConcurrentRefreshes: g.maxInFlight.Load(),
		}
	}
	return out
}

// isInstalled reports whether an app has a live grant of a portal.
func (a *authority) isInstalled(clientID string, hubID int64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.ContainsFunc(a.all, func(g *grant) bool {
		return g.state == grantActive && g.app.ClientID == clientID && g.portal.HubID == hubID
	})
}
