package caddymodule

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// sandboxSite is a Caddyfile whose only site is the sandbox.
func sandboxSite(global, block string) string {
	return "{\n" + global + "\n}\nhttp://localhost:0 {\n hubspot_sandbox " + block + "\n}\n"
}

// refusedSecret asks the sandbox under test for a token with credentials and
// a refresh token that does not exist, and says what it found wrong.
func refusedSecret(h *harness, clientID, secret string) string {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"no-such"}, "client_id": {clientID}, "client_secret": {secret}}
	got := h.Do(http.MethodPost, "/oauth/2026-09/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	var body struct {
		Status string `json:"status"`
	}
	got.JSON(h.t, &body)
	return body.Status
}

func TestSandboxKnowsItsApps(t *testing.T) {
	const global = "hubspot {\n app hbdev {\n client_id own-client\n client_secret {env.OWN_SECRET}\n }\n }"
	for _, tc := range []struct {
		name, global, block string
		clientID, secret    string
	}{
		{"the demo app", "", "", sandbox.DemoClientID, sandbox.DemoClientSecret},
		{"the apps of the option", global, "", "own-client", "own-secret"},
		{"apps of its own", global, "{\n app other {\n client_id other-client\n client_secret {env.OTHER_SECRET}\n }\n }", "other-client", "other-secret"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			t.Setenv("OWN_SECRET", "own-secret")
			t.Setenv("OTHER_SECRET", "other-secret")
			if err := h.Load(sandboxSite(tc.global, tc.block)); err != nil {
				t.Fatal(err)
			}
			if got := refusedSecret(h, tc.clientID, tc.secret); got != "BAD_REFRESH_TOKEN" {
				t.Errorf("with the app's credentials: %s", got)
			}
			if got := refusedSecret(h, tc.clientID, "wrong"); got != "BAD_CLIENT_SECRET" {
				t.Errorf("with a wrong secret: %s", got)
			}
			if tc.clientID != sandbox.DemoClientID {
				if got := refusedSecret(h, sandbox.DemoClientID, sandbox.DemoClientSecret); got != "BAD_CLIENT_ID" {
					t.Errorf("with the demo app's credentials: %s", got)
				}
			}
		})
	}
}

func TestSandboxRefusesStoredCredentials(t *testing.T) {
	h := newHarness(t)
	err := h.Load(sandboxSite("hubspot {\n store vault https://v:8200 {\n auth token {env.CALLER_KEY}\n }\n app hbdev {\n credentials vault secret/x\n }\n }", ""))
	if err == nil || !strings.Contains(err.Error(), `app "hbdev": credentials: the sandbox does not read Vault`) {
		t.Errorf("error: %v", err)
	}
}

func TestSandboxSurvivesAReload(t *testing.T) {
	h := newHarness(t)
	load := func(redirect string) {
		t.Helper()
		global := "hubspot {\n app hbdev {\n client_id c\n client_secret {env.HUBSPOT_CLIENT_SECRET}\n scopes oauth\n redirect_uri " + redirect + "\n }\n }"
		if err := h.Load(sandboxSite(global, "")); err != nil {
			t.Fatal(err)
		}
	}
	asked := func() bool {
		t.Helper()
		return strings.Contains(h.Do(http.MethodGet, "/_sandbox/stats", nil).Text, "POST /oauth/{version}/token")
	}
	load("http://localhost/callback")
	refusedSecret(h, "c", testClientSecret)
	load("http://localhost/callback")
	if !asked() {
		t.Error("a reload reset the sandbox")
	}
	load("http://localhost/another")
	if asked() {
		t.Error("an app with other settings met the old sandbox")
	}
}

func TestSandboxKeepsInstalls(t *testing.T) {
	h := newHarness(t)
	if err := h.Load(sandboxSite("", "{\n state DIR/sandbox.json\n }")); err != nil {
		t.Fatal(err)
	}
	link := testBase + "/oauth/authorize?client_id=" + sandbox.DemoClientID + "&scope=oauth%20crm.objects.contacts.read&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb&state=x"
	code := queryOf(t, h.Approve(link, sandbox.DemoHubID), "code")
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://localhost:3000/cb"},
		"client_id": {sandbox.DemoClientID}, "client_secret": {sandbox.DemoClientSecret},
	}
	token := func() answer {
		t.Helper()
		return h.Do(http.MethodPost, "/oauth/2026-09/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	}
	var grant struct {
		RefreshToken string `json:"refresh_token"`
	}
	token().JSON(t, &grant)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(sandboxSite("", "{\n state DIR/sandbox.json\n }")); err != nil {
		t.Fatal(err)
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", grant.RefreshToken)
	if got := token(); got.StatusCode != http.StatusOK {
		t.Errorf("refreshing after a restart: %s: %s", got.Status, got.Text)
	}
}

func TestWrongSandbox(t *testing.T) {
	t.Setenv("OK", "ok")
	for _, tc := range []struct{ name, directive, want string }{
		{"value", "hubspot_sandbox /x y", "hubspot_sandbox: takes no value"},
		{"unknown setting", "hubspot_sandbox {\n portal 1\n }", `hubspot_sandbox: unknown setting "portal"; there are: app, state`},
		{"app without a secret", "hubspot_sandbox {\n app a {\n client_id x\n }\n }", "client_secret: is missing"},
		{"app twice", "hubspot_sandbox {\n app a {\n client_id x\n client_secret {env.OK}\n }\n app A {\n }\n }", `app "A": there is one called "a" already`},
		{"two apps with one client id", "hubspot_sandbox {\n app a {\n client_id x\n client_secret {env.OK}\n }\n app b {\n client_id x\n client_secret {env.OK}\n }\n }", `"x" is there twice`},
		{"state that is a directory", "hubspot_sandbox {\n state DIR\n }", "state"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			err := h.Load("http://localhost:0 {\n " + tc.directive + "\n}\n")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v\nwant:  %s", err, tc.want)
			}
		})
	}
}

func TestSandboxCommand(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var logs lockedBuffer
	done := make(chan error, 1)
	go func() {
		done <- runSandbox(ctx, in, &logs, "127.0.0.1:0", "", "")
		_ = in.Close()
	}()
	printed := new(bytes.Buffer)
	base := awaitLine(t, io.TeeReader(out, printed), regexp.MustCompile(`api +(http://127\.0\.0\.1:\d+)\n`))
	go func() { _, _ = io.Copy(printed, out) }()

	resp, err := http.Get(base + "/_sandbox/stats")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("stats: %s", resp.Status)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}
	if _, err := http.Get(base); err == nil {
		t.Error("it still serves after it was stopped")
	}
}

// awaitLine reads until the pattern matches and returns its first group.
func awaitLine(t *testing.T, r io.Reader, pattern *regexp.Regexp) string {
	t.Helper()
	var all []byte
	buffer := make([]byte, 512)
	for {
		n, err := r.Read(buffer)
		all = append(all, buffer[:n]...)
		if match := pattern.FindSubmatch(all); match != nil {
			return string(match[1])
		}
		if err != nil {
			t.Fatalf("reading %q: %v", all, err)
		}
	}
}

func TestSandboxCommandWithApps(t *testing.T) {
	h := newHarness(t)
	file := h.WriteFile("apps.yaml", "apps:\n  one:\n    client_id: yaml-client\n    client_secret: \"{env.HUBSPOT_CLIENT_SECRET}\"\n")
	apps, err := sandboxAppsOf(file)
	if err != nil || len(apps) != 1 || apps[0].ClientID != "yaml-client" || apps[0].ClientSecret.Reveal() != testClientSecret {
		t.Errorf("apps: %v, %v", apps, err)
	}
	if _, err := sandboxAppsOf(h.Dir + "/no-such.yaml"); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

func TestSandboxCommandRefusals(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:4000":      "the sandbox is for this machine only",
		":4000":             "the sandbox is for this machine only",
		"example.com:4000":  "the sandbox is for this machine only",
		"127.0.0.1":         "give a host and a port",
		"127.0.0.1:1000000": "listening on 127.0.0.1:1000000",
	} {
		err := runSandbox(t.Context(), io.Discard, io.Discard, listen, "", "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--listen %s: %v; want %s", listen, err, want)
		}
	}
}
