package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// workloadCallers are callers known by JWTs, who may not DELETE.
func workloadCallers(keys string) string {
	jwt := func(subject string) string {
		return `jwt {
				issuer ` + sidecartest.IssuerName + `
				` + keys + `
				audience hubspot-sidecar
				subject ` + subject + `
			}
			deny DELETE *
		`
	}
	return "caller workload {\n" + jwt("system:serviceaccount:crm:*") + "}\n" +
		"caller narrow {\n" + jwt("system:serviceaccount:crm:narrow") + "}\n"
}

func TestCallerByJWT(t *testing.T) {
	issuer := sidecartest.NewIssuer(t)
	upstream := caddytest.Upstream(t)
	h := caddytest.Start(t, caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_url "+issuer.URL), "hubspot_auth\nhubspot_proxy hbdev"), upstream))
	h.ConnectAs("acme", caddytest.AccessToken)
	if n := issuer.Asked.Load(); n != 0 {
		t.Errorf("the keys were fetched %d times when the config was loaded", n)
	}
	good := issuer.Token(sidecartest.Workload, nil)
	parts := strings.Split(good, ".")
	// What else a JWT can be is for the tests of package admission.
	for _, tc := range []struct{ authorization, caller, words string }{
		{"Bearer " + good, "workload", ""},
		{"Bearer " + issuer.Token("system:serviceaccount:crm:narrow", nil), "", "Two callers match this JWT's subject and audience"},
		{"Bearer " + parts[0] + "." + parts[1] + "x." + parts[2], "", "JWT"},
	} {
		wantRefusedAs(t, h.Do(http.MethodDelete, "/as/acme/crm/x", nil, "Authorization", tc.authorization), tc.caller, tc.words)
	}
	if got := h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+good); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	if got := h.Do(http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil, "Authorization", "Bearer "+good); got.StatusCode != 200 {
		t.Errorf("install link: %s %s", got.Status, got.Text)
	}
	if n := issuer.Asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	if strings.Contains(h.Logs.String(), parts[1]) || strings.Contains(h.Logs.String(), parts[2]) {
		t.Error("a JWT is in the log")
	}
}

// An issuer that is away is no fault of the caller's, and a reload does not
// lose the keys that are known.
func TestIssuerOfJWTsAway(t *testing.T) {
	issuer := sidecartest.NewIssuer(t)
	issuer.Away.Store(true)
	upstream := caddytest.Upstream(t)
	text := caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_url "+issuer.URL), "hubspot_proxy hbdev"), upstream)
	h := caddytest.Start(t, text)
	h.ConnectAs("acme", caddytest.AccessToken)
	ask := func() caddytest.Answer {
		return h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+issuer.Token(sidecartest.Workload, nil))
	}
	got := ask()
	e := sidecartest.WantOwnError(t, got, 401, "caller_unauthenticated")
	if !strings.Contains(e.Message, "cannot be had at present") || strings.Contains(e.Message, issuer.URL) || got.Header.Get("Retry-After") != "10" {
		t.Errorf("%s, Retry-After %q", e.Message, got.Header.Get("Retry-After"))
	}
	if !strings.Contains(h.Logs.String(), "the keys of an issuer of JWTs cannot be had") {
		t.Error("the log does not say so")
	}

	known := sidecartest.NewIssuer(t)
	text = strings.ReplaceAll(text, issuer.URL, known.URL)
	issuer = known
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.Text != `{"ok": true}` {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	known.Away.Store(true)
	if err := h.Load(strings.Replace(text, "deny DELETE *", "deny PUT *", 1)); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.Text != `{"ok": true}` || known.Asked.Load() != 1 {
		t.Errorf("after a reload: %s %s, keys fetched %d times", got.Status, got.Text, known.Asked.Load())
	}
}

func TestKeysOfJWTsInAFile(t *testing.T) {
	issuer := sidecartest.NewIssuer(t)
	upstream := caddytest.Upstream(t)
	h := caddytest.New(t)
	path := h.WriteFile("jwks.json", string(issuer.Keys))
	t.Setenv("JWKS", path)
	if err := h.Load(caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_file {env.JWKS}"), "hubspot_proxy hbdev"), upstream)); err != nil {
		t.Fatal(err)
	}
	h.ConnectAs("acme", caddytest.AccessToken)
	if got := h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+issuer.Token(sidecartest.Workload, nil)); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}
