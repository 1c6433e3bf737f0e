package relay

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// tokenCaddyfile is for calls to an upstream with tokens of the caller tester,
// whose settings more are.
func tokenCaddyfile(upstream *wireServer, more string) string {
	text := strings.Replace(hubspotCaddyfile(authApps, tokenSite), "key {env.CALLER_KEY}", "key {env.CALLER_KEY}\n"+more, 1)
	return withQuota(withAPI(text, upstream.url()), "100000 1s")
}

// startTokens starts a Caddy for tokens, with users connected.
func startTokens(t *testing.T) (*harness, *wireServer) {
	t.Helper()
	upstream := newWireServer(t, plainAnswer)
	h := startCaddy(t, tokenCaddyfile(upstream, ""))
	for _, user := range []string{"acme", "globex", "a*"} {
		connect(t, h, user, "C"+user)
	}
	return h, upstream
}

// bearer is what an SDK makes of an access token: a bearer and nothing else.
func (h *harness) bearer(token, requestLine string, header ...string) answer {
	h.t.Helper()
	return h.raw(requestLine, append([]string{"Authorization: Bearer " + token}, header...)...)
}

func TestTokenSaysForWhom(t *testing.T) {
	h, upstream := startTokens(t)
	acme := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	glob := h.IssueToken(`{"userForeignIdentifier":"a*"}`)
	for _, tc := range []struct {
		name, token, line string
		header            []string
		want, dimension   string
	}{
		{"bearer alone", acme, "GET /crm/x", nil, "acme", ""},
		{"its user in the header", acme, "GET /crm/x", []string{"X-HubSpot-User: acme"}, "acme", ""},
		{"its user in the path", acme, "GET /as/acme/crm/x", nil, "acme", ""},
		{"another user in the header", acme, "GET /crm/x", []string{"X-HubSpot-User: globex"}, "", "user"},
		{"another user in the path", acme, "GET /as/globex/crm/x", nil, "", "user"},
		{"its user in the header, another in the path", acme, "GET /as/globex/crm/x", []string{"X-HubSpot-User: acme"}, "", "user"},
		{"another app", acme, "GET /prod/crm/x", nil, "", "app"},
		{"a user with an asterisk", glob, "GET /crm/x", nil, "a*", ""},
		{"a user with an asterisk, for another", glob, "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", "user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.bearer(tc.token, tc.line, tc.header...)
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
	h.WaitFor("the access log", func() bool { return len(h.logLines("handled request")) >= 9 })
	for _, line := range h.logLines("handled request") {
		if call, ok := line["hubspot"].(map[string]any); ok && (call["token_id"] == nil || call["caller"] != "tester") {
			t.Errorf("the access log says %v", call)
		}
	}
}

func TestTokenSaysForWhomAnEnvelopeIs(t *testing.T) {
	h, upstream := startTokens(t)
	token := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	post := func(key, body string) answer {
		return h.Do("POST", "/raw/hbdev", strings.NewReader(body), "Authorization", "Bearer "+key, "Content-Type", jsonType)
	}
	for body, status := range map[string]int{
		`{"method":"GET","url":"/crm/x"}`:                                  200,
		`{"method":"GET","url":"/crm/x","userForeignIdentifier":"acme"}`:   200,
		`{"method":"GET","url":"/crm/x","userForeignIdentifier":"globex"}`: 403,
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
	upstream := newWireServer(t, plainAnswer)
	text := strings.Replace(tokenCaddyfile(upstream, ""), "hubspot_proxy hbdev\n", "hubspot_proxy hbdev {\n user acme\n }\n", 1)
	h := startCaddy(t, text)
	connect(t, h, "acme", testToken)
	if got := h.bearer(h.IssueToken(`{"userForeignIdentifier":"acme"}`), "GET /crm/x"); got.StatusCode != 200 {
		t.Errorf("its user: %s: %s", got.Status, got.Text)
	}
	wantOwnError(t, h.bearer(h.IssueToken(`{"userForeignIdentifier":"globex"}`), "GET /crm/x"), 403, "caller_forbidden")
}

func TestNarrowedTokenCalls(t *testing.T) {
	h, upstream := startTokens(t)
	token := h.IssueToken(`{"userForeignIdentifier":"acme","allow":["GET,PATCH /crm/objects/*","POST /crm/*/search"],"deny":["* /crm/objects/*/deals*"]}`)
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
func TestTokenFollowsItsIssuer(t *testing.T) {
	h, upstream := startTokens(t)
	token := h.IssueToken(`{"userForeignIdentifier":"acme","allow":["* /crm/*"]}`)
	tokens := func(key string) string {
		return strings.Replace(tokenCaddyfile(upstream, ""), "caller tester", "caller "+key, 1)
	}
	for _, tc := range []struct {
		name, config string
		status       int
		kind, text   string
	}{
		{"as it was", tokenCaddyfile(upstream, ""), 200, "", ""},
		{"another key", strings.Replace(tokenCaddyfile(upstream, ""), "{env.CALLER_KEY}", "{env.OTHER_KEY}", 1), 200, "", ""},
		{"name in another case", tokens("Tester"), 200, "", ""},
		{"path denied", tokenCaddyfile(upstream, "deny * /crm/*"), 403, "caller_forbidden", "Caller"},
		{"method not allowed", tokenCaddyfile(upstream, "allow POST /crm/*"), 403, "caller_forbidden", "method"},
		{"user not allowed", tokenCaddyfile(upstream, "users globex"), 403, "caller_forbidden", "act for this user"},
		{"app not allowed", tokenCaddyfile(upstream, "apps hbprod"), 403, "caller_forbidden", "use this app"},
		{"renamed", tokens("other"), 401, "caller_unauthenticated", "not in the sidecar's configuration any more"},
		{"back", tokenCaddyfile(upstream, ""), 200, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("OTHER_KEY", "another-key-of-the-caller-0123")
			if err := h.Load(tc.config); err != nil {
				t.Fatal(err)
			}
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
	h, _ := startTokens(t)
	token := h.IssueToken(`{"userForeignIdentifier":"acme","expiresIn":60}`)
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
		h.App().now = func() time.Time { return begun.Add(tc.after) }
		for _, target := range []string{"/crm/x", "/hubspot/connections/hbdev/acme"} {
			got := h.bearer(token, "GET "+target)
			if tc.status != 200 {
				wantOwnError(t, got, tc.status, "caller_unauthenticated")
			}
			if got.StatusCode != tc.status || !strings.Contains(got.Text, tc.text) {
				t.Errorf("%s after %v: %s: %s", target, tc.after, got.Status, got.Text)
			}
		}
	}
}

func TestTokenOverSecretRotation(t *testing.T) {
	h, upstream := startTokens(t)
	t.Setenv("NEXT_SECRET", "next-client-secret-0123456789")
	load := func(first, next string) {
		t.Helper()
		settings := "client_secret   {env." + first + "}\n"
		if next != "" {
			settings += "client_secret_next {env." + next + "}\n"
		}
		if err := h.Load(strings.Replace(tokenCaddyfile(upstream, ""), "client_secret   {env.HUBSPOT_CLIENT_SECRET}\n", settings, 1)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when, token string, status int) {
		t.Helper()
		if got := h.bearer(token, "GET /crm/x"); got.StatusCode != status {
			t.Errorf("%s: %s: %s", when, got.Status, got.Text)
		}
	}
	before := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	load("HUBSPOT_CLIENT_SECRET", "NEXT_SECRET")
	check("made before, during", before, 200)
	load("NEXT_SECRET", "HUBSPOT_CLIENT_SECRET")
	check("made before, swapped", before, 200)
	during := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	load("NEXT_SECRET", "")
	check("made swapped, after", during, 200)
	check("made before, after", before, 401)
}

// Garbage is told nothing, and what was sealed for another purpose is garbage.
func TestNoTokens(t *testing.T) {
	h, _ := startTokens(t)
	token := h.IssueToken(`{"userForeignIdentifier":"acme"}`)
	state := sealed(t, h, "hbdev", func(*oauthstate.State) {})
	other := h.askForToken("hbprod", jsonType, `{"userForeignIdentifier":"acme"}`, testCallerKey)
	var prod issuedAnswer
	other.JSON(t, &prod)
	for name, text := range map[string]string{
		"prefix":                   "hsut_",
		"garbage":                  "hsut_garbage",
		"cut":                      token[:len(token)-1],
		"a state":                  "hsut_" + state,
		"a state under its header": token[:21] + state[16:],
		"another app's header":     prod.Token[:21] + token[21:],
		"too long":                 token + strings.Repeat("A", 5000),
	} {
		for _, target := range []string{"/crm/x", "/hubspot/connections/hbdev/acme"} {
			got := h.bearer(text, "GET "+target)
			if e := wantOwnError(t, got, 401, "caller_unauthenticated"); e.Message != "The user token is not valid here." {
				t.Errorf("%s: %s", name, e.Message)
			}
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
	for _, text := range []string{token, token[5:], state[:16] + token[21:]} {
		got := h.Do(http.MethodGet, "/hubspot/hbdev/callback?code=x&state="+text, nil, "Accept", "application/json")
		if got.StatusCode != 400 || !strings.Contains(got.Text, "state_malformed") {
			t.Errorf("a token as a state: %s: %s", got.Status, got.Text)
		}
	}
}

// With `open`, a token that is given has to be right as well.
func TestTokenWhereOpen(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startCaddy(t, strings.Replace(tokenCaddyfile(upstream, ""), "hubspot_proxy hbdev\n", "hubspot_proxy hbdev {\n open\n }\n", 1))
	connect(t, h, "acme", testToken)
	token := h.IssueToken(`{"userForeignIdentifier":"acme","allow":["GET /crm/*"]}`)
	if got := h.bearer(token, "GET /crm/x", "Sec-Fetch-Site: cross-site"); got.StatusCode != 200 {
		t.Errorf("a good one: %s: %s", got.Status, got.Text)
	}
	wantOwnError(t, h.bearer(token, "GET /files/x"), 403, "caller_forbidden")
	wantOwnError(t, h.bearer(token, "GET /crm/x", "X-HubSpot-User: globex"), 403, "caller_forbidden")
	wantOwnError(t, h.bearer(token[:40], "GET /crm/x"), 401, "caller_unauthenticated")
}

// Without the client secret nobody can tell a token from garbage.
func TestTokenWithoutCredentials(t *testing.T) {
	t.Setenv("VAULT_TOKEN_OF_TEST", "x")
	text := strings.NewReplacer(
		"client_id       {env.HUBSPOT_CLIENT_ID}\n", "credentials vault secret/hubspot-apps/hbdev\n",
		"client_secret   {env.HUBSPOT_CLIENT_SECRET}\n", "",
	).Replace(hubspotCaddyfile("store vault http://127.0.0.1:1 {\n auth token {env.VAULT_TOKEN_OF_TEST}\n }", authAndProxySite))
	h := startCaddy(t, text)
	got := h.askForToken("hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, testCallerKey)
	wantOwnError(t, got, 503, "store_unavailable")
	// The mark of the app is there, so it is worth looking.
	const token = "hsut_" + "aHUB"
	wantOwnError(t, h.bearer(token+strings.Repeat("A", 100), "GET /crm/x"), 401, "caller_unauthenticated")
	wantOwnError(t, h.bearer(tokenOfNobody(t), "GET /crm/x"), 503, "store_unavailable")
}

// tokenOfNobody is a token of the app hbdev that was sealed with a secret
// which nobody has.
func tokenOfNobody(t *testing.T) string {
	t.Helper()
	sealer, err := usertoken.NewSealer("hbdev", secret.New("the secret of nobody"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := sealer.Seal(usertoken.Token{
		ID: "id", Caller: "tester", User: "acme", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

// A token is in no log of ours, and in none of Caddy's unless it is told to
// log credentials, which prints the headers of requests.
func TestTokensOfUsersAreInNoLog(t *testing.T) {
	for name, credentials := range map[string]bool{"plain": false, "log_credentials": true} {
		t.Run(name, func(t *testing.T) { huntUserTokens(t, credentials) })
	}
}

func huntUserTokens(t *testing.T, credentials bool) {
	t.Helper()
	upstream := newWireServer(t, plainAnswer)
	servers := "servers {\n trace\n }"
	if credentials {
		servers = "servers {\n trace\n log_credentials\n }"
	}
	text := strings.Replace(tokenCaddyfile(upstream, ""), "{\n\thubspot {", "{\n\tdebug\n\tmetrics\n\t"+servers+"\n\thubspot {", 1)
	text = strings.Replace(text, "hubspot_proxy hbdev\n", "hubspot_proxy hbdev {\n verbose_logs\n }\n", 1)
	h := newHarness(t, withAdmin())
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	const user = "leak-user-81c2@example.com"
	connect(t, h, user, testToken)
	whole := h.IssueToken(`{"userForeignIdentifier":"` + user + `"}`)
	narrow := h.IssueToken(`{"userForeignIdentifier":"` + user + `","allow":["GET /crm/*"]}`)
	for _, token := range []string{whole, narrow, whole + "x", whole[:60]} {
		for _, line := range []string{
			"GET /crm/x", "GET /files/x", "GET /oauth/x", "GET /crm/%00", "GET /prod/x", "GET /crm/../x",
			"GET /hubspot/connections/hbdev", "GET /hubspot/tokens/hbdev", "POST /hubspot/tokens/hbdev",
		} {
			h.bearer(token, line)
		}
	}
	h.App().now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	h.bearer(whole, "GET /crm/last")
	h.WaitFor("the access log", func() bool { return strings.Contains(h.Logs.String(), `"uri":"/crm/last"`) })
	logs := h.Logs.String()
	seen := logs + h.Admin("GET", "/config/").Text + h.Admin("GET", "/metrics").Text
	// The ids are in the logs, the tokens are not.
	for _, there := range []string{`"token_id":"`, "user token issued", "upstream roundtrip", `caddy_hubspot_requests_total`} {
		if !strings.Contains(seen, there) {
			t.Errorf("the logs do not have %q", there)
		}
	}
	for line := range strings.Lines(seen) {
		headers := credentials && strings.Contains(line, `"request":{`) && !strings.Contains(line, "upstream roundtrip")
		if strings.Contains(line, "hsut_") && !headers {
			t.Errorf("a token is in the log: %s", line)
		}
		if strings.Contains(line, user) {
			t.Errorf("the user is in the log: %s", line)
		}
	}
	if credentials && !strings.Contains(logs, whole) {
		t.Error("log_credentials does not show the token: the test shows nothing")
	}
}
