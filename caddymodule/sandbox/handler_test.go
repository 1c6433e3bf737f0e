package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// sandboxSite is a Caddyfile whose only site is the sandbox.
func sandboxSite(global, block string) string {
	return "{\n" + global + "\n}\nhttp://localhost:0 {\n hubspot_sandbox " + block + "\n}\n"
}

// refusedSecret asks the sandbox under test for a token with credentials and
// a refresh token that does not exist, and says what it found wrong.
func refusedSecret(h *caddytest.Harness, clientID, secret string) string {
	got := exchange(h, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"no-such"}, "client_id": {clientID}, "client_secret": {secret}})
	var body struct {
		Status string `json:"status"`
	}
	got.JSON(h.T, &body)
	return body.Status
}

// codeGrant installs the demo app in a portal, and returns the form that gets
// tokens for it.
func codeGrant(h *caddytest.Harness, portal int64) url.Values {
	link := caddytest.Base + "/oauth/authorize?client_id=" + sandbox.DemoClientID + "&scope=oauth%20crm.objects.contacts.read&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb&state=x"
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {sidecartest.QueryOf(h.T, h.Approve(link, portal), "code")},
		"redirect_uri": {"http://localhost:3000/cb"},
		"client_id":    {sandbox.DemoClientID}, "client_secret": {sandbox.DemoClientSecret},
	}
}

func exchange(h *caddytest.Harness, form url.Values) caddytest.Answer {
	return h.Do(http.MethodPost, "/oauth/2026-09/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
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
			h := caddytest.New(t)
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
	h := caddytest.New(t)
	err := h.Load(sandboxSite("hubspot {\n store vault https://v:8200 {\n auth token {env.CALLER_KEY}\n }\n app hbdev {\n credentials vault secret/x\n }\n }", ""))
	if err == nil || !strings.Contains(err.Error(), `app "hbdev": credentials: the sandbox does not read Vault`) {
		t.Errorf("error: %v", err)
	}
}

func TestSandboxSurvivesAReload(t *testing.T) {
	h := caddytest.New(t)
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
	refusedSecret(h, "c", caddytest.ClientSecret)
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
	h := caddytest.New(t)
	if err := h.Load(sandboxSite("", "{\n state DIR/sandbox.json\n }")); err != nil {
		t.Fatal(err)
	}
	form := codeGrant(h, sandbox.DemoHubID)
	var grant struct {
		RefreshToken string `json:"refresh_token"`
	}
	exchange(h, form).JSON(t, &grant)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(sandboxSite("", "{\n state DIR/sandbox.json\n }")); err != nil {
		t.Fatal(err)
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", grant.RefreshToken)
	if got := exchange(h, form); got.StatusCode != http.StatusOK {
		t.Errorf("refreshing after a restart: %s: %s", got.Status, got.Text)
	}
}

func TestSandboxHasAsManyContactsAsItIsTold(t *testing.T) {
	h := caddytest.New(t)
	if err := h.Load(sandboxSite("", "{\n contacts 7\n }")); err != nil {
		t.Fatal(err)
	}
	for _, portal := range []int64{sandbox.DemoHubID, sandbox.DemoLimitedHubID} {
		var grant struct {
			AccessToken string `json:"access_token"`
		}
		exchange(h, codeGrant(h, portal)).JSON(t, &grant)
		var page struct {
			Results []struct{} `json:"results"`
		}
		h.Do(http.MethodGet, "/crm/objects/2026-09/contacts?limit=100", nil, "Authorization", "Bearer "+grant.AccessToken).JSON(t, &page)
		if len(page.Results) != 7 {
			t.Errorf("portal %d has %d contacts", portal, len(page.Results))
		}
	}
}

func TestWrongSandbox(t *testing.T) {
	t.Setenv("OK", "ok")
	for _, tc := range []struct{ name, directive, want string }{
		{"value", "hubspot_sandbox /x y", "hubspot_sandbox: takes no value"},
		{"unknown setting", "hubspot_sandbox {\n portal 1\n }", `hubspot_sandbox: unknown setting "portal"; there are: app, contacts, state`},
		{"app without a secret", "hubspot_sandbox {\n app a {\n client_id x\n }\n }", "client_secret: is missing"},
		{"app twice", "hubspot_sandbox {\n app a {\n client_id x\n client_secret {env.OK}\n }\n app A {\n }\n }", `app "A": there is one called "a" already`},
		{"two apps with one client id", "hubspot_sandbox {\n app a {\n client_id x\n client_secret {env.OK}\n }\n app b {\n client_id x\n client_secret {env.OK}\n }\n }", `"x" is there twice`},
		{"no contacts", "hubspot_sandbox {\n contacts 0\n }", `contacts: "0" is not a number from 1 to 100000`},
		{"state that is a directory", "hubspot_sandbox {\n state DIR\n }", "state"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := caddytest.New(t)
			err := h.Load("http://localhost:0 {\n " + tc.directive + "\n}\n")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v\nwant:  %s", err, tc.want)
			}
		})
	}
}
