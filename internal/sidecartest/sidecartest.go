// Package sidecartest sets up what a sidecar consists of, without Caddy, for
// the tests of the packages below internal: a sandbox HubSpot, a store in
// memory, an app with its manager and limiter, callers, freezes, metrics, an
// audit log. Tests with kits of their own can run in parallel.
package sidecartest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/portalusers"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// What a kit is made of unless [Config] says otherwise.
const (
	ClientID     = sandbox.DemoClientID
	ClientSecret = sandbox.DemoClientSecret
	// CallerKey is the key of the caller tester, who may do everything.
	CallerKey = "test-caller-key-0123456789"
	// RedirectURI is that of the app hbdev. The kit's clients take
	// http://localhost for the server under test, whatever its port.
	RedirectURI = "http://localhost/hubspot/hbdev/callback"
	// Base is the address of the server under test for those clients.
	Base = "http://localhost"
	// AccessToken, RefreshToken and HubID are those of [Kit.ConnectAs].
	AccessToken  = "CTestAccessToken0000000000000001"
	RefreshToken = "na1-test-refresh-token-0000-0001"
	HubID        = 4711
)

// Config changes what a kit is made of. The zero value is the app hbdev
// against the sandbox, with the caller tester.
type Config struct {
	// Apps are the configured apps; nil is [App].
	Apps []appconfig.Resolved
	// Callers are those beside tester; with NoCallers there are none at all.
	Callers   []access.CallerConfig
	NoCallers bool
	// API is where the API is; empty is the sandbox.
	API string
	// Sandbox changes the sandbox.
	Sandbox sandbox.Options
	// Store is where connections are kept; nil is in memory.
	Store connection.Store
	// Audit has an audit log be kept, in the test's directory.
	Audit bool
}

// Kit is a sidecar without Caddy.
type Kit struct {
	Web
	// Sandbox is HubSpot, served at SandboxURL.
	Sandbox *sandbox.Sandbox
	// Logs is everything that was logged, as JSON, at debug level.
	Logs    *logtest.Buffer
	Logger  *slog.Logger
	Store   connection.Store
	Metrics *metrics.Metrics
	Freezes *freeze.Keeper
	Scopes  *scopeuse.Keeper
	Desk    *admission.Desk
	Apps    []*hubapp.App
	// Audit is nil unless asked for; its file is AuditFile.
	Audit     *audit.Log
	AuditFile string

	server *httptest.Server
}

// App is the app hbdev.
func App() appconfig.Resolved {
	return appconfig.Resolved{
		Name: "hbdev", ClientID: ClientID, ClientSecret: secret.New(ClientSecret),
		Scopes: appconfig.Scopes{
			Required: []string{"oauth", "crm.objects.contacts.read"},
			Optional: []string{"crm.objects.contacts.write", "crm.objects.companies.read"},
		},
		RedirectURI: RedirectURI,
		Quota:       appconfig.DefaultQuota,
		SearchQuota: appconfig.DefaultSearchQuota,
	}
}

// Static is the static app reports.
func Static() appconfig.Resolved {
	return appconfig.Resolved{
		Name: "reports", Static: true, Quota: appconfig.DefaultQuota, SearchQuota: appconfig.DefaultSearchQuota,
	}
}

// Unpaced is [App] with a quota that no test reaches.
func Unpaced() appconfig.Resolved {
	app := App()
	app.Quota = appconfig.Rate{Count: 100_000, Per: time.Second}
	return app
}

// New makes a kit, which ends with the test.
func New(t testing.TB, c Config) *Kit {
	t.Helper()
	k := &Kit{Web: Web{T: t}, Logs: new(logtest.Buffer), Metrics: metrics.New(), Store: c.Store}
	k.Logger = slog.New(slog.NewJSONHandler(k.Logs, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: asCaddyLogs}))
	k.startSandbox(c.Sandbox)
	if k.Store == nil {
		k.Store = MemoryStore(t)
	}
	k.startControls()
	if c.Apps == nil {
		c.Apps = []appconfig.Resolved{App()}
	}
	endpoints := hubspot.Endpoints{API: c.API, Authorize: k.SandboxURL + "/oauth/authorize"}
	if c.API == "" {
		endpoints.API = k.SandboxURL
	}
	for _, settings := range c.Apps {
		k.Apps = append(k.Apps, k.newApp(settings, endpoints.WithDefaults()))
	}
	if c.Audit {
		k.startAudit()
	}
	k.Desk = admission.NewDesk(admission.Config{
		Apps: k.Apps, Callers: k.registry(c), Freezes: k.Freezes, Metrics: k.Metrics, Logger: k.Logger,
	})
	return k
}

// asCaddyLogs spells levels as Caddy's log does.
func asCaddyLogs(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.LevelKey {
		return slog.String(a.Key, strings.ToLower(a.Value.String()))
	}
	return a
}

func (k *Kit) startSandbox(o sandbox.Options) {
	k.T.Helper()
	var err error
	if k.Sandbox, err = sandbox.New(o); err != nil {
		k.T.Fatalf("making sandbox: %v", err)
	}
	server := httptest.NewServer(k.Sandbox)
	k.T.Cleanup(server.Close)
	k.SandboxURL = server.URL
}

// startControls starts what works with the store's documents. What is learnt of
// scopes is in the store when it is asked for.
func (k *Kit) startControls() {
	documents, _ := k.Store.(connection.DocumentStore)
	k.Freezes = freeze.New(freeze.Config{Logger: k.Logger, Store: documents})
	k.Freezes.Start()
	k.T.Cleanup(k.Freezes.Close)
	k.Scopes = scopeuse.New(scopeuse.Config{Logger: k.Logger, Store: documents})
}

func (k *Kit) newApp(settings appconfig.Resolved, endpoints hubspot.Endpoints) *hubapp.App {
	name := appconfig.CanonicalName(settings.Name)
	secrets := secretuse.NewLedger(time.Now)
	client := &hubspot.Client{
		SecretUsed: secrets.Note,
		HTTP:       &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: 10 * time.Second},
		Endpoints:  endpoints, RedirectURI: settings.RedirectURI,
		Credentials: hubspot.StaticCredentials{
			ClientID: settings.ClientID, Secret: settings.ClientSecret, NextSecret: settings.ClientSecretNext,
		},
	}
	var provider connection.Provider = client
	if settings.Static {
		client.Credentials = hubspot.NoCredentials{}
		provider = &hubspot.StaticClient{HTTP: client.HTTP, Endpoints: endpoints}
	}
	manager := connection.NewManager(connection.Config{
		App: name, Store: k.Store, Provider: provider,
		RefreshCount: settings.RefreshQuota.Count, RefreshPer: settings.RefreshQuota.Per,
	})
	k.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = manager.Close(ctx)
		client.HTTP.CloseIdleConnections()
	})
	return &hubapp.App{
		Name: name, Settings: settings, Endpoints: endpoints, Client: client, Manager: manager,
		ScopeUse:    k.Scopes.App(name),
		PortalUsers: portalusers.New(manager.EachOfPortals),
		Limiter:     quota.NewLimiter(quota.Config{Burst: quota.Rate(settings.Quota), Search: quota.Rate(settings.SearchQuota)}),
		Secrets:     secrets,
	}
}

func (k *Kit) startAudit() {
	k.T.Helper()
	k.AuditFile = filepath.Join(k.T.TempDir(), "audit.jsonl")
	k.Audit = audit.NewLog(audit.Options{File: k.AuditFile, Logger: k.Logger})
	if err := k.Audit.Open(); err != nil {
		k.T.Fatal(err)
	}
	k.T.Cleanup(func() { _ = k.Audit.Close(context.Background()) })
}

func (k *Kit) registry(c Config) *access.Registry {
	k.T.Helper()
	if c.NoCallers {
		return nil
	}
	configs := slices.Concat([]access.CallerConfig{{Name: "tester", Keys: []secret.Text{secret.New(CallerKey)}}}, c.Callers)
	callers := make([]*access.Caller, 0, len(configs))
	for _, config := range configs {
		caller, err := access.NewCaller(config)
		if err != nil {
			k.T.Fatal(err)
		}
		callers = append(callers, caller)
	}
	registry, err := access.NewRegistry(callers)
	if err != nil {
		k.T.Fatal(err)
	}
	return registry
}

// Rules makes rules of their texts, such as "GET,POST /crm/*".
func Rules(t testing.TB, texts ...string) []access.Rule {
	t.Helper()
	rules := make([]access.Rule, 0, len(texts))
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	return rules
}

// App returns the app of that name.
func (k *Kit) App(name string) *hubapp.App {
	k.T.Helper()
	app, ok := k.Desk.App(name)
	if !ok {
		k.T.Fatalf("there is no app %s", name)
	}
	return app
}

// Serve serves a handler, over HTTP/1.1 and cleartext HTTP/2, until the test
// ends. The kit's clients go there.
func (k *Kit) Serve(handler http.Handler) {
	k.T.Helper()
	k.server = httptest.NewUnstartedServer(handler)
	k.server.Config.Protocols = new(http.Protocols)
	k.server.Config.Protocols.SetHTTP1(true)
	k.server.Config.Protocols.SetUnencryptedHTTP2(true)
	k.server.Start()
	k.ServerAddr = k.Addr
	k.T.Cleanup(k.server.Close)
}

// Addr is the address of the server under test.
func (k *Kit) Addr() string { return k.server.Listener.Addr().String() }

// ConnectAs stores a connection of the app hbdev as an install would leave it,
// with an access token that lives for half an hour.
func (k *Kit) ConnectAs(user, token string) {
	k.T.Helper()
	ConnectAs(k.T, k.App("hbdev"), user, token)
}

// ConnectAs stores a connection of an app as [Kit.ConnectAs] does.
func ConnectAs(t testing.TB, app *hubapp.App, user, token string) {
	t.Helper()
	_, err := app.Manager.Connect(t.Context(), connection.Install{
		User: user,
		Grant: hubspot.Grant{
			AccessToken: secret.New(token), RefreshToken: secret.New(RefreshToken),
			HubID: HubID, Scopes: []string{"oauth"}, ExpiresIn: 30 * time.Minute,
		},
		Nonce: rand.Text(), NonceUntil: time.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatalf("connecting %s: %v", user, err)
	}
}

// ConnectExpired stores a connection of the app hbdev whose access token has
// ended. The manager must not know the user yet.
func (k *Kit) ConnectExpired(user string) {
	k.T.Helper()
	record := connection.Record{
		Key:    connection.Key{App: "hbdev", User: user},
		Status: connection.StatusActive, HubID: HubID, Generation: rand.Text(), WriteID: rand.Text(),
		AccessToken: secret.New(AccessToken), RefreshToken: secret.New(RefreshToken),
		IssuedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(-30 * time.Minute),
		ConnectedAt: time.Now().Add(-time.Hour), UpdatedAt: time.Now().Add(-time.Hour),
	}
	if _, err := k.Store.Save(k.T.Context(), record, 0); err != nil {
		k.T.Fatalf("storing a connection of %s: %v", user, err)
	}
}

// StaticToken makes a static token of a portal of the sandbox.
func (k *Kit) StaticToken(hubID int64) string {
	k.T.Helper()
	resp, err := k.Client().Post(k.SandboxURL+"/_sandbox/static-tokens", "application/json", strings.NewReader(fmt.Sprintf(`{"hub_id":%d}`, hubID)))
	var made struct{ Token string }
	k.Read(resp, err).JSON(k.T, &made)
	return made.Token
}

// ConnectInSandbox connects a user of the app hbdev to a portal of the
// sandbox, with the app's required and optional scopes, or of the optional ones
// with those that are given.
func (k *Kit) ConnectInSandbox(user string, hubID int64, optional ...string) {
	k.T.Helper()
	k.InstallInSandbox("hbdev", user, "", hubID, optional...)
}

// InstallInSandbox is ConnectInSandbox for an app, and, of a user-level one, for
// the person with a number.
func (k *Kit) InstallInSandbox(appName, user, person string, hubID int64, optional ...string) {
	k.T.Helper()
	app := k.App(appName)
	verifier := hubspot.NewVerifier()
	link, err := app.Client.AuthorizeURL(k.T.Context(), hubspot.AuthorizeRequest{
		Scopes: app.RequiredScopes(), OptionalScopes: app.Settings.Scopes.Optional, State: rand.Text(), Verifier: verifier,
	})
	if err != nil {
		k.T.Fatal(err)
	}
	if len(optional) > 0 {
		link += "&_sandbox_optional=" + url.QueryEscape(strings.Join(optional, " "))
	}
	if person != "" {
		link += "&_sandbox_person=" + person
	}
	code := QueryOf(k.T, k.Approve(link, hubID), "code")
	asked := time.Now()
	grant, err := app.Exchange(k.T.Context(), code, verifier)
	if err != nil {
		k.T.Fatal(err)
	}
	_, err = app.Manager.Connect(k.T.Context(), connection.Install{
		User: user, Grant: grant, IssuedAt: asked, Asked: app.AskedScopes(), Nonce: rand.Text(), NonceUntil: time.Now().Add(time.Minute),
	})
	if err != nil {
		k.T.Fatal(err)
	}
}
