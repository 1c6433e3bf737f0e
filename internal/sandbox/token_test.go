package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestCodeExchange(t *testing.T) {
	r := newRig(t, nil)
	for _, version := range []string{"2026-09", "2026-03", "v3", "v1"} {
		t.Run(version, func(t *testing.T) {
			a := r.post("/oauth/"+version+"/token", "grant_type", "authorization_code", "code", r.code(), "redirect_uri", redirectURI).want(http.StatusOK)
			want := []string{"token_type", "refresh_token", "access_token", "hub_id", "scopes", "expires_in", "token_use"}
			body := a.json()
			for _, key := range want {
				if _, ok := body[key]; !ok {
					t.Errorf("lacks %s", key)
				}
			}
			if len(body) != len(want) || body["token_type"] != "bearer" || body["expires_in"] != 1800.0 ||
				body["hub_id"] != float64(sandbox.DemoHubID) || body["token_use"] != "access_token" {
				t.Errorf("body %v", body)
			}
			if got := body["access_token"].(string); !strings.HasPrefix(got, "C") || len(got) < 100 || len(got) > 512 {
				t.Errorf("access token of %d characters", len(got))
			}
			if !regexp.MustCompile(`^na1-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(body["refresh_token"].(string)) {
				t.Error("odd refresh token")
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-HubSpot-Correlation-Id") == "" ||
				a.header.Get("Content-Type") != "application/json;charset=utf-8" {
				t.Errorf("header %v", a.header)
			}
		})
	}
	r.post("/oauth/v2/token", "grant_type", "refresh_token").want(http.StatusNotFound)
	r.do("GET", tokenPath, "").want(http.StatusMethodNotAllowed)
}

func TestTokenErrors(t *testing.T) {
	const verifier = "a-verifier-that-is-long-enough-for-rfc-7636-to-accept"
	r := newRig(t, func(o *sandbox.Options) {
		o.Apps = []sandbox.App{sandbox.DemoApp(), {
			ClientID: "other", ClientSecret: secret.New("other-secret"), Scopes: []string{"oauth"},
			RedirectURIs: []string{redirectURI, "https://other.example.com/cb"},
		}}
	})
	refresh := r.connect().refresh
	used := r.code()
	r.exchange(used)
	expired := r.code()
	r.clock.advance(6 * time.Minute)
	exchange := func(extra ...string) []string {
		return append([]string{"grant_type", "authorization_code", "redirect_uri", redirectURI}, extra...)
	}
	// base64url(sha256(verifier)), computed apart from the code under test
	const challenge = "BvRp3HNQ5Nb4kL5W0mHdwwYjErKnuELfMGgDXTcHjRI"
	tests := []struct {
		name          string
		fields        []string
		status, error string
	}{
		{"no grant type", []string{}, "BAD_GRANT_TYPE", "unsupported_grant_type"},
		{"unknown grant type", []string{"grant_type", "password"}, "BAD_GRANT_TYPE", "unsupported_grant_type"},
		{"no client", exchange("client_id", "-"), "BAD_CLIENT_ID", "invalid_client"},
		{"unknown client", exchange("client_id", "x"), "BAD_CLIENT_ID", "invalid_client"},
		{"no secret", exchange("client_secret", "-"), "BAD_CLIENT_SECRET", "invalid_client"},
		{"wrong secret", exchange("client_secret", "x"), "BAD_CLIENT_SECRET", "invalid_client"},
		{"no redirect", exchange("redirect_uri", "-", "code", r.code()), "BAD_REDIRECT_URI", "invalid_request"},
		{"bad redirect", exchange("redirect_uri", "http://evil.example/", "code", r.code()), "BAD_REDIRECT_URI", "invalid_request"},
		{"other redirect", exchange("redirect_uri", "http://localhost:3000/other", "code", r.code()), "MISMATCH_REDIRECT_URI_AUTH_CODE", "invalid_grant"},
		{"no code", exchange(), "BAD_AUTH_CODE", "invalid_grant"},
		{"unknown code", exchange("code", "na1-x"), "BAD_AUTH_CODE", "invalid_grant"},
		{"used code", exchange("code", used), "BAD_AUTH_CODE", "invalid_grant"},
		{"another app's code", exchange("client_id", "other", "client_secret", "other-secret", "code", r.code()), "BAD_AUTH_CODE", "invalid_grant"},
		{"expired code", exchange("code", expired), "EXPIRED_AUTH_CODE", "invalid_grant"},
		{"no verifier", exchange("code", r.code("code_challenge", challenge, "code_challenge_method", "S256")), "BAD_CODE_VERIFIER", "invalid_grant"},
		{"wrong verifier", exchange("code", r.code("code_challenge", challenge, "code_challenge_method", "S256"), "code_verifier", verifier+"x"), "BAD_CODE_VERIFIER", "invalid_grant"},
		{"no refresh token", []string{"grant_type", "refresh_token"}, "BAD_REFRESH_TOKEN", "invalid_grant"},
		{"unknown refresh token", []string{"grant_type", "refresh_token", "refresh_token", "x"}, "BAD_REFRESH_TOKEN", "invalid_grant"},
		{"another app's refresh token", []string{"grant_type", "refresh_token", "refresh_token", refresh, "client_id", "other", "client_secret", "other-secret"}, "BAD_REFRESH_TOKEN", "invalid_grant"},
		{"no scope", []string{"grant_type", "client_credentials"}, "BAD_SCOPES", "invalid_scope"},
		{"account scope", []string{"grant_type", "client_credentials", "scope", "crm.objects.contacts.read"}, "BAD_SCOPES", "invalid_scope"},
		{"app token, wrong secret", []string{"grant_type", "client_credentials", "client_secret", "x"}, "BAD_CLIENT_SECRET", "invalid_client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := r.post(tokenPath, tt.fields...).want(http.StatusBadRequest).json()
			if body["status"] != tt.status || body["error"] != tt.error {
				t.Errorf("got %v, want %s and %s", body, tt.status, tt.error)
			}
			if body["message"] == "" || body["message"] != body["error_description"] || len(body) != 4 {
				t.Errorf("body %v", body)
			}
		})
	}
	t.Run("a code survives mistakes", func(t *testing.T) {
		code := r.code("code_challenge", challenge, "code_challenge_method", "S256")
		r.post(tokenPath, exchange("code", code)...).want(http.StatusBadRequest)
		r.exchange(code, "code_verifier", verifier)
	})
	t.Run("official wording", func(t *testing.T) {
		want := `{"error":"invalid_grant","error_description":"refresh token is invalid, expired or revoked","status":"BAD_REFRESH_TOKEN","message":"refresh token is invalid, expired or revoked"}`
		if got := r.refresh("x").body; got != want {
			t.Errorf("got %s", got)
		}
	})
}

func TestTokenParametersAreReadFromTheFormBodyOnly(t *testing.T) {
	r := newRig(t, nil)
	refresh := r.connect().refresh
	grant := "grant_type=refresh_token&refresh_token=" + refresh
	credentials := "client_id=" + sandbox.DemoClientID + "&client_secret=" + sandbox.DemoClientSecret
	t.Run("query", func(t *testing.T) {
		r.do("POST", tokenPath+"?"+credentials, grant, "Content-Type", form).want(400).has("BAD_CLIENT_ID")
	})
	t.Run("query of v1", func(t *testing.T) {
		r.do("POST", "/oauth/v1/token?"+credentials, grant, "Content-Type", form).want(200)
	})
	t.Run("basic authentication", func(t *testing.T) {
		r.do("POST", tokenPath, grant, "Content-Type", form, "Authorization", "Basic eDp5").want(400).has("BAD_CLIENT_ID")
	})
	t.Run("JSON", func(t *testing.T) {
		r.do("POST", tokenPath, `{"grant_type":"refresh_token"}`, "Content-Type", "application/json").want(400).has("invalid_request")
	})
	t.Run("no content type", func(t *testing.T) {
		r.do("POST", tokenPath, grant+"&"+credentials).want(400).has("invalid_request")
	})
}

func TestRefresh(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		app := sandbox.DemoApp()
		app.ClientSecretNext = secret.New("the-next-secret")
		o.Apps = []sandbox.App{app}
	})
	first := r.connect()
	t.Run("keeps the refresh token and older access tokens", func(t *testing.T) {
		a := r.refresh(first.refresh).want(http.StatusOK)
		if a.at("refresh_token") != first.refresh || a.at("access_token") == first.access {
			t.Error("want the same refresh token and another access token")
		}
		for _, token := range []string{first.access, a.at("access_token").(string)} {
			r.api("GET", "/crm/v3/objects/contacts", token, "").want(200)
		}
	})
	t.Run("across versions", func(t *testing.T) {
		for _, version := range []string{"v1", "v3", "2026-03"} {
			a := r.post("/oauth/"+version+"/token", "grant_type", "refresh_token", "refresh_token", first.refresh).want(200)
			if a.at("refresh_token") != first.refresh {
				t.Errorf("%s: another refresh token", version)
			}
		}
	})
	t.Run("next secret", func(t *testing.T) {
		r.post(tokenPath, "grant_type", "refresh_token", "refresh_token", first.refresh, "client_secret", "the-next-secret").want(200)
	})
	t.Run("connections of one portal share it", func(t *testing.T) {
		second := r.connect("optional_scope", "-")
		if second.refresh != first.refresh {
			t.Error("want the refresh token of the grant that exists")
		}
		other := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		if other.refresh == first.refresh {
			t.Error("another portal got the same refresh token")
		}
		scopes := r.refresh(first.refresh).want(200).at("scopes").([]any)
		if want := []any{"oauth", "crm.objects.contacts.read"}; !slices.Equal(scopes, want) {
			t.Errorf("scopes %v, want those of the last consent", scopes)
		}
	})
	t.Run("after revocation and a new install", func(t *testing.T) {
		r.post("/oauth/2026-09/token/revoke", "token", first.refresh).want(200)
		r.refresh(first.refresh).want(400).has("BAD_REFRESH_TOKEN")
		if again := r.connect(); again.refresh == first.refresh {
			t.Error("a revoked refresh token came back")
		}
		r.refresh(first.refresh).want(400).has("BAD_REFRESH_TOKEN")
	})
}

func TestClientCredentials(t *testing.T) {
	r := newRig(t, nil)
	a := r.post(tokenPath, "grant_type", "client_credentials", "scope", "developer.webhooks_journal.read").want(200)
	body := a.json()
	if body["token_use"] != "client_credentials" || body["refresh_token"] != nil || body["hub_id"] != nil {
		t.Errorf("body %v", body)
	}
	token := body["access_token"].(string)
	r.api("GET", "/crm/objects/2026-09/contacts", token, "").want(403).has("MISSING_SCOPES")
	r.api("GET", "/account-info/2026-09/details", token, "").want(403).has("MISSING_SCOPES")
	r.api("DELETE", "/appinstalls/2026-09/external-install", token, "").want(403)
	r.api("GET", "/crm/v3/objects/widgets", token, "").want(403)
}

// TestOldTokensAreForgotten issues so many tokens that the expired ones go:
// they are answered like junk then.
func TestOldTokensAreForgotten(t *testing.T) {
	r := newRig(t, nil)
	old := r.connect()
	r.clock.advance(2 * time.Hour)
	r.api("GET", contacts, old.access, "").want(401).has("expired 90 minute(s) ago")
	fresh := r.refresh(old.refresh).want(200).at("access_token").(string)
	for range 4100 {
		req := httptest.NewRequest("POST", tokenPath, strings.NewReader(formBody("grant_type", "refresh_token", "refresh_token", old.refresh)))
		req.RemoteAddr, req.Host = "127.0.0.1:1", "localhost"
		req.Header.Set("Content-Type", form)
		rec := httptest.NewRecorder()
		if r.box.ServeHTTP(rec, req); rec.Code != 200 {
			t.Fatalf("status %d", rec.Code)
		}
	}
	r.api("GET", contacts, old.access, "").want(401).has("1970-01-01")
	r.api("GET", contacts, fresh, "").want(200)
}
