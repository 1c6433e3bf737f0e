package caddymodule_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// evidence is everything that a sidecar shows or writes, by where it was
// found, and what must not be in it.
type evidence struct {
	planted map[string]string
	found   map[string]string
}

func newEvidence() *evidence {
	return &evidence{planted: make(map[string]string), found: make(map[string]string)}
}

func (e *evidence) plant(t *testing.T, what, value string) {
	t.Helper()
	if len(value) < 12 {
		t.Fatalf("%s is too short to be hunted for: %q", what, value)
	}
	e.planted[what] = value
}

func (e *evidence) add(where, content string) { e.found[where] += content + "\n" }

// filesBelow returns the content of all files of a directory.
func filesBelow(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.WriteString(path + "\n")
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// spellings are the forms in which a secret would still be one.
func spellings(value string) []string {
	quoted, _ := json.Marshal(value)
	plain := []byte(value)
	return []string{
		value, url.QueryEscape(value), url.PathEscape(value), string(bytes.Trim(quoted, `"`)),
		hex.EncodeToString(plain), strings.ToUpper(hex.EncodeToString(plain)),
		base64.RawStdEncoding.EncodeToString(plain), base64.RawURLEncoding.EncodeToString(plain),
	}
}

// judge reports each planted value that is in the evidence, unless it is one
// that may be there.
func (e *evidence) judge(t *testing.T, may func(what, where string) bool) {
	t.Helper()
	for what, value := range e.planted {
		for where, content := range e.found {
			if may(what, where) {
				continue
			}
			for _, form := range spellings(value) {
				if i := strings.Index(content, form); i >= 0 {
					t.Errorf("%s is in %s: …%s…", what, where, content[max(0, i-300):min(len(content), i+len(form)+100)])
					break
				}
			}
		}
	}
}

// panics is a handler that does what no handler should: what stands behind it
// cannot begin an answer.
type panics struct{}

func (panics) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.hubspot_test_panic", New: func() caddy.Module { return new(panics) }}
}

func (panics) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(panicsAtHead{w, r}, r)
}

// panicsAtHead panics in the middle of whatever writes an answer.
type panicsAtHead struct {
	http.ResponseWriter
	r *http.Request
}

func (w panicsAtHead) WriteHeader(int) { panic(w.r.Context()) }

// tokenRecord has every token that the sandbox has issued.
type tokenRecord struct {
	mu      sync.Mutex
	refresh []string
}

// wrap stands between Caddy and the sandbox.
func (l *tokenRecord) wrap(sandbox http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/token") {
			sandbox.ServeHTTP(w, r)
			return
		}
		seen := &seenBody{ResponseWriter: w}
		defer func() { l.note(seen.body.Bytes()) }() // also where the sandbox panics, to break off
		sandbox.ServeHTTP(seen, r)
	})
}

func (l *tokenRecord) note(body []byte) {
	var grant struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &grant) != nil || grant.RefreshToken == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.refresh, grant.RefreshToken) {
		l.refresh = append(l.refresh, grant.RefreshToken)
	}
}

// seenBody keeps a copy of an answer.
type seenBody struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (s *seenBody) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *seenBody) Write(p []byte) (int, error) {
	s.body.Write(p)
	return s.ResponseWriter.Write(p)
}

func init() {
	caddy.RegisterModule(panics{})
	httpcaddyfile.RegisterHandlerDirective("hubspot_test_panic", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return new(panics), nil
	})
}

const contacts = "/crm/objects/2026-09/contacts"

// leakUser is a customer whose identifier is easily told from others.
const leakUser = "leak-user-7f3a@example.com"

// leakSite has everything turned on that shows something.
const leakSite = `
	log
	tracing {
		span leaks
	}
	hubspot_auth {
		user      {http.request.header.X-Test-Session}
		return_to https://app.example.com/*
		rate      1000 1s
	}
	handle_path /panic/* {
		route {
			hubspot_test_panic
			hubspot_proxy hbdev
		}
	}
	hubspot_proxy hbdev {
		max_wait 5s
	}`

// leakHunt does all that a sidecar is for, and what can go wrong with it.
type leakHunt struct {
	*evidence
	h      *caddytest.Harness
	t      *testing.T
	issued *tokenRecord
}

// TestNothingLeaks plants tokens, codes, states, secrets, keys and users, runs
// everything at debug level, and searches all that is shown and written: logs,
// traces, events, metrics, error pages, the admin API with its profiles and
// its config, the autosaved config, the local store's files and Vault's audit
// log.
func TestNothingLeaks(t *testing.T) {
	for _, credentials := range []bool{false, true} {
		name := "log_credentials off"
		if credentials {
			name = "log_credentials on"
		}
		t.Run(name+", store caddy", func(t *testing.T) {
			text := caddytest.Caddyfile("fallback_cache DIR/fallback {\n key {env.FALLBACK_KEY}\n }\n audit DIR/audit.jsonl", leakSite)
			huntLeaks(t, text, credentials)
		})
	}
	t.Run("log_credentials off, store vault", func(t *testing.T) {
		server := vaulttest.Start(t)
		mount := server.Mount(t)
		role := server.AppRole(t, map[string]any{"token_policies": []string{server.Policy(t, "sidecar.hcl", mount, "hbdev")}})
		t.Setenv("VAULT_ROLE_ID", role.RoleID)
		server.Write(t, mount+"/data/hubspot-apps/hbdev", map[string]any{
			"data":    map[string]any{"client_id": caddytest.ClientID, "client_secret": caddytest.ClientSecret},
			"options": map[string]any{"cas": 0},
		})
		secretID := role.SecretID(t)
		t.Setenv("VAULT_SECRET_ID", secretID)
		store := strings.Replace(caddytest.VaultStore(server, role, mount, ""), "secret_id_file DIR/secret_id", "secret_id {env.VAULT_SECRET_ID}", 1)
		text := caddytest.StoredCredentials(caddytest.Caddyfile(store, leakSite), mount)
		e := huntLeaks(t, text, false)
		audit, err := os.ReadFile(server.AuditLog)
		if err != nil {
			t.Fatal(err)
		}
		e.plant(t, "secret id", secretID)
		e.add("Vault's audit log", string(audit))
		e.judge(t, func(what, where string) bool { return where != "Vault's audit log" && what != "secret id" })
	})
}

// huntLeaks runs everything and judges what was found.
func huntLeaks(t *testing.T, text string, credentials bool) *evidence {
	t.Helper()
	e := newEvidence()
	collector := new(caddytest.Log)
	traces := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(collector, r.Body)
	}))
	t.Cleanup(traces.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	fallbackKey := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("fallback"), 4))
	t.Setenv("FALLBACK_KEY", fallbackKey)

	issued := new(tokenRecord)
	h := caddytest.New(t, caddytest.WithAdmin(), caddytest.WithAutosave(), caddytest.WithWrappedSandbox(issued.wrap))
	if credentials {
		text = strings.Replace(text, "{\n\thubspot", "{\n\tservers {\n\t\tlog_credentials\n\t\ttrace\n\t}\n\thubspot", 1)
	}
	text = strings.Replace(text, "{\n\thubspot", "{\n\tdebug\n\tmetrics\n\thubspot", 1)
	text = strings.Replace(text, "{\n\tservers", "{\n\tdebug\n\tmetrics\n\tservers", 1)
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	e.plant(t, "client secret", caddytest.ClientSecret)
	e.plant(t, "caller key", caddytest.CallerKey)
	e.plant(t, "fallback key", fallbackKey)
	e.plant(t, "user", leakUser)

	hunt := &leakHunt{evidence: e, h: h, t: t, issued: issued}
	hunt.installs()
	hunt.calls()
	hunt.tokens()
	hunt.admin()
	hunt.reloads(text)
	hunt.ends()
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	pool.WaitForClosings()
	hunt.plantRefreshTokens()
	hunt.collect(collector)
	hunt.verdict(credentials)
	return e
}

// plantTokens plants the tokens that are in use now.
func (l *leakHunt) plantTokens(when string) {
	l.t.Helper()
	token, err := l.h.App("hbdev").Manager.Token(l.t.Context(), leakUser)
	if err != nil {
		l.t.Fatal(err)
	}
	l.plant(l.t, "access token "+when, token.Access.Reveal())
}

// plantRefreshTokens plants all refresh tokens that there were.
func (l *leakHunt) plantRefreshTokens() {
	l.t.Helper()
	if n := len(l.issued.refresh); n < 2 {
		l.t.Errorf("there were only %d refresh tokens: the test shows nothing", n)
	}
	for i, token := range l.issued.refresh {
		l.plant(l.t, fmt.Sprintf("refresh token %d", i+1), token)
	}
}

// plantQuery plants what a link or a callback holds.
func (l *leakHunt) plantQuery(what, address string) {
	l.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		l.t.Fatal(err)
	}
	found := false
	for _, name := range []string{"code", "state", "code_challenge"} {
		if value := u.Query().Get(name); value != "" {
			l.plant(l.t, what+": "+name, value)
			found = true
		}
	}
	if !found {
		l.t.Fatalf("%s holds nothing to hunt for: %q", what, address)
	}
}

// begin starts an install in a browser of user and returns the link to HubSpot
// and the browser's cookies.
func (l *leakHunt) begin(target, user string) (link, cookies string) {
	l.t.Helper()
	got := l.h.Do(http.MethodGet, target, nil, "X-Test-Session", user)
	if got.StatusCode != http.StatusFound {
		l.t.Fatalf("GET %s: %s: %s", target, got.Status, got.Text)
	}
	var pairs []string
	for _, c := range got.Cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return got.Header.Get("Location"), strings.Join(pairs, "; ")
}

// installs connects the user in every way, and fails to in many.
func (l *leakHunt) installs() {
	l.t.Helper()
	h := l.h
	link := h.InstallLink("hbdev", leakUser)
	l.plantQuery("link", link)
	callback := h.Approve(link, sandbox.DemoHubID)
	l.plantQuery("callback", callback)
	for range 2 {
		l.add("pages", h.Do(http.MethodGet, callback, nil).Text)
	}
	l.plantTokens("at first")

	// By browser, with the wrong one first.
	link, cookies := l.begin("/hubspot/hbdev/connect?return_to=https://app.example.com/x", leakUser)
	l.plantQuery("browser's link", link)
	_, cookie, _ := strings.Cut(cookies, "=")
	l.plant(l.t, "cookie", cookie)
	callback = h.Approve(link, sandbox.DemoHubID)
	l.plantQuery("browser's callback", callback)
	l.add("pages", h.Do(http.MethodGet, callback, nil).Text)
	l.add("pages", h.Do(http.MethodGet, callback, nil, "Cookie", cookies).Text)
	l.plantTokens("after connecting again")

	location, _ := l.begin("/hubspot/hbdev/callback?step=authorize&returnUrl=https://app.hubspot.com/x", leakUser)
	l.plantQuery("marketplace", location)

	for _, fault := range []string{`{"token":{"answer":"invalid_client","times":1}}`, `{"token":{"answer":"broken_json","times":1}}`, `{"token":{"drop":"after","times":1}}`} {
		h.Fault(fault)
		callback = h.Approve(h.InstallLink("hbdev", leakUser), sandbox.DemoHubID)
		l.plantQuery(fault, callback)
		for _, try := range []struct{ method, target string }{
			{http.MethodPost, callback}, {http.MethodHead, callback},
			{http.MethodGet, callback + "&x=" + strings.Repeat("x", 8<<10)},
			{http.MethodGet, callback + "&state=twice"},
			{http.MethodGet, callback},
		} {
			l.add("pages", h.Do(try.method, try.target, nil).Text)
		}
		// What HubSpot calls an error is shown to the browser that brings it.
		h.Do(http.MethodGet, strings.Replace(callback, "code=", "error=", 1), nil)
	}
}

// calls calls HubSpot, with and without success.
func (l *leakHunt) calls() {
	l.t.Helper()
	h := l.h
	for _, path := range []string{contacts, "/oauth/v1/token", "/crm/nothing/here", "/crm/%00", "/crm/..%2Foauth/x"} {
		l.add("answers", h.Get(path, leakUser).Text)
	}
	envelope := url.Values{"method": {"GET"}, "url": {contacts}, "userForeignIdentifier": {leakUser}}
	got := h.Do(http.MethodPost, "/raw/hbdev", strings.NewReader(envelope.Encode()), "Authorization", "Bearer "+caddytest.CallerKey,
		"Content-Type", "application/x-www-form-urlencoded")
	if got.StatusCode != http.StatusOK {
		l.t.Errorf("envelope: %s: %s", got.Status, got.Text)
	}
	// The handler behind this one panics, so there is no answer.
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, caddytest.Base+"/panic"+contacts, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + caddytest.CallerKey}, "X-Hubspot-User": {leakUser}}
	if res, err := h.Client().Do(req); err == nil {
		l.t.Errorf("nothing panicked: %s", res.Status)
		_ = res.Body.Close()
	}
	for _, fault := range []string{`{"expire_access_tokens":{}}`, `{"api":{"answer":"server_error","times":1}}`} {
		l.h.Fault(fault)
		l.add("answers", h.Get(contacts, leakUser).Text)
	}
	l.plantTokens("after a refresh")
	l.add("answers", h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+l.planted["access token at first"]).Text)
}

// tokens issues user tokens, and uses them rightly and wrongly.
func (l *leakHunt) tokens() {
	l.t.Helper()
	h := l.h
	for _, rules := range []string{"", `,"allow":["GET /crm/*"]`} {
		var issued struct{ Token string }
		h.Do(http.MethodPost, "/hubspot/tokens/hbdev", strings.NewReader(`{"userForeignIdentifier":"`+leakUser+`"`+rules+`}`),
			"Authorization", "Bearer "+caddytest.CallerKey, "Content-Type", "application/json").JSON(l.t, &issued)
		token := issued.Token
		l.plant(l.t, "user token"+rules, token)
		h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+token)
		for _, refused := range []string{token[:len(token)-2], token + "A"} {
			l.add("answers", h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+refused).Text)
		}
		l.add("answers", h.Do(http.MethodPost, contacts, nil, "Authorization", "Bearer "+token, "X-HubSpot-User", "another").Text)
	}
	// A state is no key either.
	link := h.InstallLink("hbdev", leakUser)
	l.plant(l.t, "state sent as a key", sidecartest.QueryOf(l.t, link, "state"))
	l.add("answers", h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+l.planted["state sent as a key"]).Text)
}

// admin asks the admin API for all that it knows.
func (l *leakHunt) admin() {
	l.t.Helper()
	l.add("admin API: connections", l.h.Admin(http.MethodGet, "/hubspot/connections/hbdev").Text)
	l.add("admin API: connections", l.h.Admin(http.MethodGet, adminapi.ConnectionPath("hbdev", leakUser)).Text)
	l.add("admin API: connections", l.h.Admin(http.MethodPost, adminapi.ConnectionPath("hbdev", leakUser)+"/refresh").Text)
	l.plantTokens("after a forced refresh")
	freeze := `{"user":"` + leakUser + `","app":"hbdev","reason":"about ` + leakUser + `"}`
	l.add("admin API: freezes", l.h.AdminBody(http.MethodPost, adminapi.Freezes, freeze, "application/json").Text)
	l.add("answers", wantFrozen(l.t, l.h.Get(contacts, leakUser)))
	l.add("admin API: freezes", l.h.AdminBody(http.MethodDelete, adminapi.Freezes, freeze, "application/json").Text)
	l.add("admin API", l.h.AdminBody(http.MethodPost, adminapi.Tags+"/hbdev", `{"userForeignIdentifier":"`+leakUser+`"}`, "application/json").Text)
	for _, path := range []string{
		"/config/", "/hubspot/status", "/hubspot/ready", "/hubspot/live", "/metrics", "/reverse_proxy/upstreams", "/debug/vars",
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1",
		"/debug/pprof/heap", "/debug/pprof/trace?seconds=0.1", "/debug/pprof/mutex?debug=1", "/debug/pprof/block?debug=1",
	} {
		got := l.h.Admin(http.MethodGet, path)
		if got.StatusCode != http.StatusOK {
			l.t.Errorf("GET %s: %s", path, got.Status)
		}
		l.add("admin API", got.Text)
	}
}

// wantFrozen returns the text of a refusal of what is frozen.
func wantFrozen(t *testing.T, got caddytest.Answer) string {
	t.Helper()
	sidecartest.WantOwnError(t, got, http.StatusForbidden, "frozen")
	return got.Text
}

// reloads loads the config again, and one that is refused when everything is
// expanded already.
func (l *leakHunt) reloads(text string) {
	l.t.Helper()
	if err := l.h.Load(text); err != nil {
		l.t.Fatal(err)
	}
	err := l.h.Load(strings.Replace(text, "hubspot_proxy hbdev {\n\t\tmax_wait", "hubspot_proxy other {\n\t\tmax_wait", 1))
	if err == nil {
		l.t.Fatal("the broken config was loaded")
	}
	l.add("load error", err.Error())
}

// ends lets the grant die and the connection end.
func (l *leakHunt) ends() {
	l.t.Helper()
	h := l.h
	h.Fault(`{"revoke":{},"expire_access_tokens":{}}`)
	l.add("answers", h.Get(contacts, leakUser).Text)
	h.Connect(leakUser, sandbox.DemoHubID)
	l.plantTokens("after the grant had died")
	// What is on disk while there are connections.
	l.add("files", filesBelow(l.t, h.Dir))
	l.add("answers", h.Do(http.MethodDelete, "/hubspot/connections/hbdev/"+url.PathEscape(leakUser), nil, "Authorization", "Bearer "+caddytest.CallerKey).Text)
}

// collect takes up what was written in the background.
func (l *leakHunt) collect(traces *caddytest.Log) {
	l.t.Helper()
	l.add("log", l.h.Logs.String())
	for line := range strings.Lines(l.h.Logs.String()) {
		if strings.Contains(line, `"logger":"hubspot`) || strings.Contains(line, `"logger":"http.handlers.hubspot_`) {
			l.add("own log", line)
		}
	}
	l.add("traces", traces.String())
	l.add("files", filesBelow(l.t, l.h.Dir))
}

// verdict says where what may be. With log_credentials, Caddy itself prints
// the headers of requests, and so what callers know themselves. Access logs
// and the errors that are made for a caller name the user, as the caller did.
func (l *leakHunt) verdict(credentials bool) {
	l.t.Helper()
	l.judge(l.t, func(what, where string) bool {
		switch what {
		case "caller key", "cookie", "user token", `user token,"allow":["GET /crm/*"]`, "state sent as a key":
			return credentials && where == "log"
		case "access token at first":
			// This one was sent in place of a key.
			return credentials && where == "log"
		case "user":
			return slices.Contains([]string{"log", "traces", "answers", "pages", "admin API: connections", "admin API: freezes"}, where)
		}
		return false
	})
	// What Caddy's reverse_proxy logged of each call at debug level is not there
	// any more, and nor is it.
	for where, want := range map[string]string{
		"log": "handled request", "own log": "user_tag", "traces": "leaks", "admin API": "caddy_hubspot_requests_total",
		"files": "autosave.json", "load error": "hubspot_proxy",
	} {
		if !strings.Contains(l.found[where], want) {
			l.t.Errorf("%s lacks %q: the test shows nothing", where, want)
		}
	}
	if !strings.Contains(l.found["log"], "panic") {
		l.t.Error("the log has no panic")
	}
	if credentials != strings.Contains(l.found["log"], caddytest.CallerKey) {
		l.t.Errorf("with log_credentials %v the caller's key is in the log: %v", credentials, !credentials)
	}
}
