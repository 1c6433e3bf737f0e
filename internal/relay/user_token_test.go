package relay_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// startTokens starts a relay for tokens of the app hbdev, and one of the app
// hbprod below /prod, with users connected.
func startTokens(t *testing.T) (*harness, *wireServer) {
	t.Helper()
	upstream := newWireServer(t, plainAnswer)
	prod := sidecartest.Unpaced()
	prod.Name = "hbprod"
	h := start(t, sidecartest.Config{API: upstream.url(), Apps: []appconfig.Resolved{sidecartest.Unpaced(), prod}})
	for _, user := range []string{"acme", "globex", "a*"} {
		h.ConnectAs(user, "C"+user)
	}
	hbdev := h.relay.Load()
	h.use(func(c *relay.Config) { c.App = h.App("hbprod") })
	hbprod := h.relay.Load()
	h.use(func(c *relay.Config) { c.App = h.App("hbdev") })
	h.relay.Store(hbdev)
	h.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/prod/") {
			http.StripPrefix("/prod", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(hbprod, w, r) })).ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	}))
	return h, upstream
}

// IssueToken seals a token of the caller tester for a user of the app hbdev.
func (h *harness) IssueToken(user string, change ...func(*usertoken.Token)) string {
	h.t.Helper()
	return sealToken(h.t, "hbdev", testClientSecret, user, change...)
}

func sealToken(t testing.TB, app, clientSecret, user string, change ...func(*usertoken.Token)) string {
	t.Helper()
	sealer, err := usertoken.NewSealer(app, secret.New(clientSecret))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token := usertoken.Token{ID: rand.Text(), Caller: "tester", User: user, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	for _, apply := range change {
		apply(&token)
	}
	sealed, err := sealer.Seal(token)
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Reveal()
}

// desk has the relay go by another desk.
func (h *harness) desk(change func(*admission.Config)) {
	h.t.Helper()
	c := admission.Config{Apps: h.Apps, Callers: registryOf(h.t, tester()), Freezes: h.Freezes, Metrics: h.Metrics, Logger: h.Logger}
	change(&c)
	h.use(func(r *relay.Config) { r.Desk = admission.NewDesk(c) })
}

func tester() access.CallerConfig {
	return access.CallerConfig{Name: "tester", Keys: []secret.Text{secret.New(testCallerKey)}}
}

func registryOf(t testing.TB, config access.CallerConfig) *access.Registry {
	t.Helper()
	caller, err := access.NewCaller(config)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := access.NewRegistry([]*access.Caller{caller})
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// bearer is what an SDK makes of an access token: a bearer and nothing else.
func (h *harness) bearer(token, requestLine string, header ...string) answer {
	h.t.Helper()
	return h.raw(requestLine, append([]string{"Authorization: Bearer " + token}, header...)...)
}

func TestTokenSaysForWhom(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startTokens(t)
	acme := h.IssueToken("acme")
	glob := h.IssueToken("a*")
	for _, tc := range []struct {
		name, token, line string
		header            []string
		want, dimension   string
		// others are the two that name different users, which is refused
		// before the token's scope is: one request means one thing.
		others []string
	}{
		{"bearer alone", acme, "GET /crm/x", nil, "acme", "", nil},
		{"its user in the header", acme, "GET /crm/x", []string{"X-HubSpot-User: acme"}, "acme", "", nil},
		{"its user in the path", acme, "GET /as/acme/crm/x", nil, "acme", "", nil},
		{"another user in the header", acme, "GET /crm/x", []string{"X-HubSpot-User: globex"}, "", "", []string{"the header X-HubSpot-User", "the user token"}},
		{"another user in the path", acme, "GET /as/globex/crm/x", nil, "", "", []string{"the path prefix /as/{user}/", "the user token"}},
		{"its user in the header, another in the path", acme, "GET /as/globex/crm/x", []string{"X-HubSpot-User: acme"}, "", "", []string{"the path prefix /as/{user}/", "the header X-HubSpot-User"}},
		{"another app", acme, "GET /prod/crm/x", nil, "", "app", nil},
		{"a user with an asterisk", glob, "GET /crm/x", nil, "a*", "", nil},
		{"a user with an asterisk, for another", glob, "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", "", []string{"the header X-HubSpot-User", "the user token"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.bearer(tc.token, tc.line, tc.header...)
			if tc.others != nil {
				e := wantOwnError(t, got, 400, "bad_request")
				for _, other := range tc.others {
					if !strings.Contains(e.Message, other) {
						t.Errorf("message %q, want one with %q", e.Message, other)
					}
				}
				return
			}
			if tc.dimension != "" {
				e := wantOwnError(t, got, 403, "caller_forbidden")
				if d := e.Context["dimension"]; len(d) != 1 || d[0] != tc.dimension {
					t.Errorf("dimension %v, want %s", d, tc.dimension)
				}
				return
			}
			sent := upstream.last(t)
			if got.StatusCode != 200 || sent.first("Authorization") != "Bearer C"+tc.want || sent.start != "GET /crm/x HTTP/1.1" {
				t.Errorf("%s %s; sent %s with %s", got.Status, got.Text, sent.start, sent.first("Authorization"))
			}
		})
	}
	for range 9 {
		if s := <-h.summaries; s.TokenID == "" || s.Caller != "tester" {
			t.Errorf("the access log would say %+v", s)
		}
	}
}

func TestTokenSaysForWhomAnEnvelopeIs(t *testing.T) {
	t.Parallel()
	h, upstream := startTokens(t)
	token := h.IssueToken("acme")
	post := func(key, body string) answer {
		return h.Do("POST", "/raw/hbdev", strings.NewReader(body), "Authorization", "Bearer "+key, "Content-Type", jsonType)
	}
	for body, status := range map[string]int{
		`{"method":"GET","url":"/crm/x"}`:                                  200,
		`{"method":"GET","url":"/crm/x","userForeignIdentifier":"acme"}`:   200,
		`{"method":"GET","url":"/crm/x","userForeignIdentifier":"globex"}`: 400,
		`{"method":"GET","url":"https://evil.example/"}`:                   400,
		`{"url":"/crm/x"}`: 400,
	} {
		got := post(token, body)
		if got.StatusCode != status || status == 200 && upstream.last(t).first("Authorization") != "Bearer Cacme" {
			t.Errorf("%s: %s: %s", body, got.Status, got.Text)
		}
	}
	wantOwnError(t, post(testCallerKey, `{"method":"GET","url":"/crm/x"}`), 400, "user_required")
}

// A constant user, or one of a placeholder, is one that the request names.
func TestTokenWhereTheSettingNamesTheUser(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	h.use(constantUser("acme"))
	if got := h.bearer(h.IssueToken("acme"), "GET /crm/x"); got.StatusCode != 200 {
		t.Errorf("its user: %s: %s", got.Status, got.Text)
	}
	e := wantOwnError(t, h.bearer(h.IssueToken("globex"), "GET /crm/x"), 400, "bad_request")
	if !strings.Contains(e.Message, "the setting user") || !strings.Contains(e.Message, "the user token") {
		t.Errorf("message %q", e.Message)
	}
}

func TestNarrowedTokenCalls(t *testing.T) {
	t.Parallel()
	h, upstream := startTokens(t)
	token := h.IssueToken("acme", func(u *usertoken.Token) {
		u.Allow = sidecartest.Rules(t, "GET,PATCH /crm/objects/*", "POST /crm/*/search")
		u.Deny = sidecartest.Rules(t, "* /crm/objects/*/deals*")
	})
	for line, want := range map[string]int{
		"GET /crm/objects/2026-09/contacts?limit=1":          200,
		"PATCH /crm/objects/2026-09/contacts/1":              200,
		"GET /crm/objects/2026-09/contacts/a%2Fb":            200,
		"POST /crm/objects/2026-09/contacts/search":          200,
		"DELETE /crm/objects/2026-09/contacts/1":             403,
		"GET /crm/properties/contacts":                       403,
		"GET /files/v3/files":                                403,
		"GET /crm/objects/2026-09/deals":                     403,
		"GET /crm/objects/2026-09/DEALS;x/1":                 403,
		"GET /crm/objects/../properties/contacts":            400,
		"GET /crm/objects/%2e%2e/properties/contacts":        400,
		"GET /crm/objects/x%2f..%2f..%2fproperties/contacts": 400,
		"GET /crm/objects/2026-09/%2564eals":                 400,
		"GET /CRM/objects/2026-09/contacts":                  400,
		"get /crm/objects/2026-09/contacts":                  400,
		"GET /crm//objects/2026-09/contacts":                 400,
		"GET /crm/objects/%00":                               400,
		"GET /oauth/2026-09/token":                           403,
	} {
		before := len(upstream.taken())
		got := h.bearer(token, line)
		if got.StatusCode != want {
			t.Errorf("%s: %s: %s, want %d", line, got.Status, got.Text, want)
		}
		if sent := len(upstream.taken()) - before; (sent == 1) != (want == 200) {
			t.Errorf("%s: HubSpot was asked %d times", line, sent)
		}
	}
}

// The policy of the issuer is the one at the time of use.
func TestTokenFollowsItsIssuer(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, _ := startTokens(t)
	token := h.IssueToken("acme", func(u *usertoken.Token) { u.Allow = sidecartest.Rules(t, "* /crm/*") })
	for _, tc := range []struct {
		name       string
		change     func(*access.CallerConfig)
		status     int
		kind, text string
	}{
		{"as it was", func(*access.CallerConfig) {}, 200, "", ""},
		{"another key", func(c *access.CallerConfig) { c.Keys = []secret.Text{secret.New("another-key-of-the-caller-0123")} }, 200, "", ""},
		{"name in another case", func(c *access.CallerConfig) { c.Name = "Tester" }, 200, "", ""},
		{"path denied", func(c *access.CallerConfig) { c.Deny = sidecartest.Rules(t, "* /crm/*") }, 403, "caller_forbidden", "Caller"},
		{"method not allowed", func(c *access.CallerConfig) { c.Allow = sidecartest.Rules(t, "POST /crm/*") }, 403, "caller_forbidden", "method"},
		{"user not allowed", func(c *access.CallerConfig) { c.Users = []string{"globex"} }, 403, "caller_forbidden", "act for this user"},
		{"app not allowed", func(c *access.CallerConfig) { c.Apps = []string{"hbprod"} }, 403, "caller_forbidden", "use this app"},
		{"renamed", func(c *access.CallerConfig) { c.Name = "other" }, 401, "caller_unauthenticated", "not in the sidecar's configuration any more"},
		{"back", func(*access.CallerConfig) {}, 200, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := tester()
			tc.change(&config)
			h.desk(func(c *admission.Config) { c.Callers = registryOf(t, config) })
			got := h.bearer(token, "GET /crm/x")
			if tc.kind != "" {
				wantOwnError(t, got, tc.status, tc.kind)
			}
			if got.StatusCode != tc.status || !strings.Contains(got.Text, tc.text) {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
		})
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	token := h.IssueToken("acme", func(u *usertoken.Token) { u.ExpiresAt = u.IssuedAt.Add(time.Minute) })
	begun := time.Now()
	for _, tc := range []struct {
		after  time.Duration
		status int
		text   string
	}{
		{0, 200, ""},
		{59 * time.Second, 200, ""},
		{61 * time.Second, 401, "has expired"},
		{2 * time.Hour, 401, "has expired"},
		{-2 * time.Minute, 401, "not valid here"},
	} {
		h.desk(func(c *admission.Config) { c.Now = func() time.Time { return begun.Add(tc.after) } })
		got := h.bearer(token, "GET /crm/x")
		if tc.status != 200 {
			wantOwnError(t, got, tc.status, "caller_unauthenticated")
		}
		if got.StatusCode != tc.status || !strings.Contains(got.Text, tc.text) {
			t.Errorf("after %v: %s: %s", tc.after, got.Status, got.Text)
		}
	}
}

// A token that was opened a moment ago expires all the same.
func TestOpenedTokenExpires(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	token := h.IssueToken("acme", func(u *usertoken.Token) { u.ExpiresAt = u.IssuedAt.Add(10 * time.Second) })
	var later atomic.Int64
	h.desk(func(c *admission.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	for _, status := range []int{200, 200, 401} {
		if status == 401 {
			later.Store(int64(11 * time.Second))
		}
		if got := h.bearer(token, "GET /crm/x"); got.StatusCode != status {
			t.Errorf("want %d: %s: %s", status, got.Status, got.Text)
		}
	}
}

// withCredentials has the apps have other client credentials.
func (h *harness) withCredentials(source hubspot.CredentialSource) {
	h.t.Helper()
	old := h.App("hbdev")
	client := &hubspot.Client{HTTP: old.Client.HTTP, Endpoints: old.Endpoints, RedirectURI: old.Client.RedirectURI, Credentials: source}
	app := &hubapp.App{
		Name: old.Name, Settings: old.Settings, Endpoints: old.Endpoints, Client: client, Manager: old.Manager, Limiter: old.Limiter,
	}
	h.use(func(c *relay.Config) { c.App = app })
	h.desk(func(c *admission.Config) { c.Apps = []*hubapp.App{app} })
}

func TestTokenOverSecretRotation(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	const nextSecret = "next-client-secret-0123456789"
	load := func(first, next string) {
		t.Helper()
		h.withCredentials(hubspot.StaticCredentials{ClientID: sidecartest.ClientID, Secret: secret.New(first), NextSecret: secret.New(next)})
	}
	check := func(when, token string, status int) {
		t.Helper()
		if got := h.bearer(token, "GET /crm/x"); got.StatusCode != status {
			t.Errorf("%s: %s: %s", when, got.Status, got.Text)
		}
	}
	before := h.IssueToken("acme")
	load(testClientSecret, nextSecret)
	check("made before, during", before, 200)
	load(nextSecret, testClientSecret)
	check("made before, swapped", before, 200)
	during := sealToken(t, "hbdev", nextSecret, "acme")
	check("made swapped, swapped", during, 200)
	load(nextSecret, "")
	check("made swapped, after", during, 200)
	check("made before, after", before, 401)
}

// Garbage is told nothing, and what was sealed for another purpose is garbage.
func TestNoTokens(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	token := h.IssueToken("acme")
	prod := sealToken(t, "hbprod", testClientSecret, "acme")
	states, err := oauthstate.NewSealer("hbdev", secret.New(testClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	state, err := states.Seal(oauthstate.State{User: "acme", Verifier: hubspot.NewVerifier(), Nonce: rand.Text(), IssuedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"prefix":                   "hsut_",
		"garbage":                  "hsut_garbage",
		"cut":                      token[:len(token)-1],
		"a state":                  "hsut_" + state,
		"a state under its header": token[:21] + state[16:],
		"another app's header":     prod[:21] + token[21:],
		"too long":                 token + strings.Repeat("A", 5000),
	} {
		got := h.bearer(text, "GET /crm/x")
		if e := wantOwnError(t, got, 401, "caller_unauthenticated"); e.Message != "The user token is not valid here." {
			t.Errorf("%s: %s", name, e.Message)
		}
	}
	for name, header := range map[string]string{
		"without its prefix": "Authorization: Bearer " + token[5:],
		"as a password":      basic("tester", token),
		"a state":            "Authorization: Bearer " + state,
	} {
		if got := h.raw("GET /crm/x", header); got.StatusCode != 401 {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
}

// With `open`, a token that is given has to be right as well.
func TestTokenWhereOpen(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	h.use(open)
	token := h.IssueToken("acme", func(u *usertoken.Token) { u.Allow = sidecartest.Rules(t, "GET /crm/*") })
	if got := h.bearer(token, "GET /crm/x", "Sec-Fetch-Site: cross-site"); got.StatusCode != 200 {
		t.Errorf("a good one: %s: %s", got.Status, got.Text)
	}
	wantOwnError(t, h.bearer(token, "GET /files/x"), 403, "caller_forbidden")
	wantOwnError(t, h.bearer(token, "GET /crm/x", "X-HubSpot-User: globex"), 400, "bad_request")
	wantOwnError(t, h.bearer(token[:40], "GET /crm/x"), 401, "caller_unauthenticated")
}

// noCredentials are in a store that does not answer.
type noCredentials struct{}

func (noCredentials) Credentials(context.Context) (hubspot.Credentials, error) {
	return hubspot.Credentials{}, fmt.Errorf("asking nobody: %w", connection.ErrUnavailable)
}

// Without the client secret nobody can tell a token from garbage.
func TestTokenWithoutCredentials(t *testing.T) {
	t.Parallel()
	h, _ := startTokens(t)
	h.withCredentials(noCredentials{})
	// The mark of the app is there, so it is worth looking.
	const token = "hsut_" + "aHUB"
	wantOwnError(t, h.bearer(token+strings.Repeat("A", 100), "GET /crm/x"), 401, "caller_unauthenticated")
	wantOwnError(t, h.bearer(sealToken(t, "hbdev", "the secret of nobody", "acme"), "GET /crm/x"), 503, "store_unavailable")
}
