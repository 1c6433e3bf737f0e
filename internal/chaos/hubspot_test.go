package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Access tokens live this long. A claim is respected for a third of it, and a
// call to the token endpoint may take a ninth; HubSpot's own live 30 minutes.
const (
	stableLife   = 12 * time.Second
	rotatingLife = 24 * time.Second
)

// appSetup is one HubSpot app and the sandbox that plays HubSpot for it.
type appSetup struct {
	name, clientID, clientSecret string
	life                         time.Duration
	rotating                     bool
	sandbox                      *sandbox.Sandbox
}

// hubspot stands in HubSpot's place. Each sidecar has an address of its own
// for it, so that the ledger knows who asks.
type hubspot struct {
	ledger *ledger
	apps   []*appSetup
	urls   []string // by sidecar
}

func newHubSpot(t *testing.T, l *ledger, sidecars, users int) *hubspot {
	t.Helper()
	h := &hubspot{ledger: l, apps: []*appSetup{
		{name: "stable", life: stableLife},
		{name: "rotating", life: rotatingLife, rotating: true},
	}}
	for i, app := range h.apps {
		app.clientID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1)
		app.clientSecret = "client-secret-of-" + app.name
		app.start(t, l, int64(1_000_000*(i+1)), users)
	}
	for i := range sidecars {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, i) }))
		t.Cleanup(server.Close)
		h.urls = append(h.urls, server.URL)
	}
	return h
}

// start makes the sandbox, with a portal for each user: users of one portal
// would share a grant.
func (a *appSetup) start(t *testing.T, l *ledger, firstHub int64, users int) {
	t.Helper()
	demo := sandbox.DemoApp()
	demo.ClientID, demo.ClientSecret = a.clientID, secret.New(a.clientSecret)
	options := sandbox.Options{Apps: []sandbox.App{demo}, TokenLifetime: a.life, DisableQuota: true}
	for i := range users {
		hub := firstHub + int64(i)
		options.Portals = append(options.Portals, sandbox.Portal{HubID: hub, Contacts: 1})
		l.add(connKey{a.name, fmt.Sprintf("%s-%02d", a.name, i)}, hub, a.life, a.rotating)
	}
	var err error
	if a.sandbox, err = sandbox.New(options); err != nil {
		t.Fatalf("making a sandbox: %v", err)
	}
	a.clearFaults()
}

// control asks the sandbox for something of its own.
func (a *appSetup) control(method, path, body string) {
	r := httptest.NewRequest(method, "http://localhost/_sandbox/"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	a.sandbox.ServeHTTP(w, r)
	if w.Code != http.StatusOK && w.Code != http.StatusNoContent {
		panic(fmt.Sprintf("the sandbox answers %s %s with %d: %s", method, path, w.Code, w.Body))
	}
}

// clearFaults ends the faults. A sandbox whose refresh tokens rotate has that
// as a fault, and revokes the grant when an old one is used.
func (a *appSetup) clearFaults() {
	a.control(http.MethodDelete, "faults", "")
	if a.rotating {
		a.control(http.MethodPost, "faults", `{"rotate_refresh_tokens":true,"revoke_on_reuse":true}`)
	}
}

// refreshes is how often HubSpot has refreshed in that portal.
func (a *appSetup) refreshes(hub int64) (n int64) {
	for _, g := range a.sandbox.Stats().Grants {
		if g.HubID == hub {
			n += g.Refreshes
		}
	}
	return n
}

// hasLiveGrant reports whether HubSpot would still refresh for the portal.
func (a *appSetup) hasLiveGrant(hub int64) bool {
	for _, g := range a.sandbox.Stats().Grants {
		if g.HubID == hub && g.Status == "active" {
			return true
		}
	}
	return false
}

func (h *hubspot) app(name string) *appSetup {
	for _, a := range h.apps {
		if a.name == name {
			return a
		}
	}
	return nil
}

func (h *hubspot) serve(w http.ResponseWriter, r *http.Request, by int) {
	if !strings.HasPrefix(r.URL.Path, "/oauth/") {
		h.serveAPI(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/authorize") {
		h.appOf(r.URL.Query()).sandbox.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	app := h.appOf(form)
	switch form.Get("grant_type") {
	case "refresh_token":
		h.serveRefresh(w, r, app, form.Get("refresh_token"), by)
	case "authorization_code":
		h.serveInstall(w, r, app, by)
	default:
		app.sandbox.ServeHTTP(w, r)
	}
}

func (h *hubspot) appOf(form url.Values) *appSetup {
	for _, a := range h.apps {
		if a.clientID == form.Get("client_id") {
			return a
		}
	}
	return h.apps[0]
}

// serveAPI finds the sandbox by the access token.
func (h *hubspot) serveAPI(w http.ResponseWriter, r *http.Request) {
	access := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	h.ledger.mu.Lock()
	c := h.ledger.byAccess[access]
	h.ledger.mu.Unlock()
	if c == nil {
		h.apps[0].sandbox.ServeHTTP(w, r)
		return
	}
	seen := &statusWriter{ResponseWriter: w}
	h.app(c.app).sandbox.ServeHTTP(seen, r)
	if seen.status == http.StatusUnauthorized {
		h.ledger.refusedAccess(c, access)
	}
}

// refusedAccess notes that the API has refused an access token.
func (l *ledger) refusedAccess(c *conn, access string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.refusedAccess[access] = true
	if n := c.number(access); n >= 0 && time.Since(c.history[n].answered) < c.life+time.Second {
		c.expiredAt = time.Now()
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// tokens is an answer of the token endpoint.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	HubID   int64  `json:"hub_id"`
}

func (h *hubspot) serveInstall(w http.ResponseWriter, r *http.Request, app *appSetup, by int) {
	arrived := time.Now()
	answer := httptest.NewRecorder()
	app.sandbox.ServeHTTP(answer, r)
	var got tokens
	if answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &got) == nil {
		h.ledger.mu.Lock()
		if c := h.ledger.byPortal[got.HubID]; c != nil {
			h.ledger.byAccess[got.Access], h.ledger.byRefresh[got.Refresh] = c, c
			c.history = append(c.history, &attempt{
				conn: c, by: by, install: true, issued: true, access: got.Access, delivered: true,
				arrived: arrived, answered: time.Now(),
			})
		}
		h.ledger.mu.Unlock()
	}
	copyAnswer(w, answer)
}

// serveRefresh lets the sandbox answer a refresh and writes down what came of
// it.
func (h *hubspot) serveRefresh(w http.ResponseWriter, r *http.Request, app *appSetup, refresh string, by int) {
	a := h.ledger.refreshArrived(refresh, by)
	if a == nil {
		app.sandbox.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	dropped := serveOrDrop(app.sandbox, answer, r)
	h.settle(app, a, answer, dropped)
	delivered := false
	defer func() { h.ledger.delivered(a, delivered) }()
	if dropped {
		panic(http.ErrAbortHandler)
	}
	copyAnswer(w, answer)
	delivered = http.NewResponseController(w).Flush() == nil && r.Context().Err() == nil
}

// serveOrDrop reports whether the sandbox dropped the connection.
func serveOrDrop(s http.Handler, w http.ResponseWriter, r *http.Request) (dropped bool) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler:
			dropped = true
		default:
			panic(cause)
		}
	}()
	s.ServeHTTP(w, r)
	return false
}

// settle writes down how the sandbox answered a refresh.
func (h *hubspot) settle(app *appSetup, a *attempt, answer *httptest.ResponseRecorder, dropped bool) {
	var got tokens
	whole := !dropped && answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &got) == nil
	count := int64(0)
	if dropped {
		count = app.refreshes(a.conn.hub)
	}
	l := h.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	a.answered = time.Now()
	a.issued = !dropped && answer.Code == http.StatusOK || dropped && count > a.conn.issued
	a.mangled = a.issued && !whole
	a.refused = !dropped && answer.Code == http.StatusBadRequest &&
		(bytes.Contains(answer.Body.Bytes(), []byte("BAD_REFRESH_TOKEN")) || bytes.Contains(answer.Body.Bytes(), []byte("BAD_HUB")))
	if a.issued {
		a.conn.issued++
	}
	if whole {
		a.access = got.Access
		l.byAccess[got.Access], l.byRefresh[got.Refresh] = a.conn, a.conn
	}
	a.conn.history = append(a.conn.history, a)
}

// refreshArrived starts an attempt; nil if the refresh token is unknown.
func (l *ledger) refreshArrived(refresh string, by int) *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.byRefresh[refresh]
	if c == nil {
		return nil
	}
	a := &attempt{conn: c, by: by, life: l.lives[by], arrived: time.Now(), claim: c.claims[by]}
	delete(c.claims, by)
	if a.claim != nil && time.Since(a.claim.at) > c.life/3 && l.during(by, a.claim.at, a.arrived, paused) == nil {
		a.claim = nil // it was given up and left to run out
	}
	return a
}

// delivered writes down whether the answer was written to a sidecar that was
// still there.
func (l *ledger) delivered(a *attempt, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.delivered = ok && !a.mangled
	if a.delivered && a.access != "" && a.life == l.lives[a.by] {
		// The sidecar counts the life from before it asked.
		a.conn.learn(a.by, a.begun().Add(a.conn.life-time.Second))
	}
}

// learn notes that a sidecar has a token. The caller holds the ledger's lock.
func (c *conn) learn(sidecar int, expires time.Time) {
	if expires.After(c.known[sidecar].expires) {
		c.known[sidecar] = knownToken{since: time.Now(), expires: expires}
	}
}

func copyAnswer(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}
