package sandbox_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func twoApps(o *sandbox.Options) {
	o.Apps = []sandbox.App{sandbox.DemoApp(), {ClientID: "other", ClientSecret: secret.New("other-secret"), Scopes: []string{"oauth"}}}
}

func TestIntrospect(t *testing.T) {
	r := newRig(t, twoApps)
	got := r.connect()
	const path = "/oauth/2026-09/token/introspect"
	t.Run("access token", func(t *testing.T) {
		r.clock.advance(100 * time.Second)
		body := r.post(path, "token", got.access, "token_type_hint", "access_token").want(200).json()
		for key, want := range map[string]any{
			"active": true, "token": got.access, "hub_id": float64(sandbox.DemoHubID), "client_id": sandbox.DemoClientID,
			"app_id": 5150001.0, "user": "alex.admin@acme.example.com", "hub_domain": "acme.example.com",
			"expires_in": 1700.0, "is_private_distribution": false, "token_use": "access_token", "token_type": "Bearer",
		} {
			if body[key] != want {
				t.Errorf("%s is %v, want %v", key, body[key], want)
			}
		}
		if signed, ok := body["signed_access_token"].(map[string]any); !ok || signed["hublet"] != "na1" || len(signed) != 17 {
			t.Errorf("signed_access_token %v", body["signed_access_token"])
		}
		if body["user_id"] == nil || len(body["scopes"].([]any)) != 7 {
			t.Errorf("body %v", body)
		}
	})
	t.Run("refresh token", func(t *testing.T) {
		body := r.post(path, "token", got.refresh).want(200).json()
		if body["active"] != true || body["token_use"] != "refresh_token" || body["expires_in"] != nil || body["signed_access_token"] != nil {
			t.Errorf("body %v", body)
		}
		r.post("/oauth/v3/token/introspect", "refresh_token", got.refresh).want(200).has(`"active":true`)
	})
	t.Run("inactive", func(t *testing.T) {
		const inactive = `{"active":false}`
		for name, fields := range map[string][]string{
			"unknown":           {"token", "x"},
			"another app's":     {"token", got.access, "client_id", "other", "client_secret", "other-secret"},
			"another's refresh": {"token", got.refresh, "client_id", "other", "client_secret", "other-secret"},
		} {
			if a := r.post(path, fields...).want(200); a.body != inactive {
				t.Errorf("%s: %s", name, a.body)
			}
		}
		r.clock.advance(30 * time.Minute)
		if a := r.post(path, "token", got.access).want(200); a.body != inactive {
			t.Errorf("expired: %s", a.body)
		}
	})
	t.Run("errors", func(t *testing.T) {
		r.post(path, "token", got.access, "client_secret", "x").want(400).has("BAD_CLIENT_SECRET")
		r.post(path, "token", got.access, "client_id", "-").want(400).has("BAD_CLIENT_ID")
		r.post(path).want(400).has("missing token")
	})
}

func TestRevokeLeavesAccessTokensAlive(t *testing.T) {
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, twoApps)
			got := r.connect()
			path := "/oauth/" + version + "/token/revoke"
			r.post(path, "token", got.refresh, "client_id", "other", "client_secret", "other-secret").want(200)
			r.post(path, "token", "unknown").want(200)
			r.post(path, "token", got.access).want(200)
			r.refresh(got.refresh).want(200)

			r.post(path, "token", got.refresh, "client_secret", "x").want(400).has("BAD_CLIENT_SECRET")
			if a := r.post(path, "token", got.refresh, "token_type_hint", "refresh_token").want(200); a.body != "" {
				t.Errorf("body %q", a.body)
			}
			r.refresh(got.refresh).want(400).has("BAD_REFRESH_TOKEN")
			r.post("/oauth/2026-09/token/introspect", "token", got.refresh).want(200).has(`"active":false`)
			r.post("/oauth/2026-09/token/introspect", "token", got.access).want(200).has(`"active":true`)
			r.api("GET", "/crm/objects/2026-09/contacts", got.access, "").want(200)
		})
	}
}

func TestUninstall(t *testing.T) {
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, nil)
			got := r.connect()
			other := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
			path := "/appinstalls/" + version + "/external-install"
			r.do("DELETE", path, "").want(401)
			if a := r.api("DELETE", path, got.access, "").want(204); a.body != "" {
				t.Errorf("body %q", a.body)
			}
			r.refresh(got.refresh).want(400).has("BAD_REFRESH_TOKEN")
			r.api("GET", "/crm/objects/2026-09/contacts", got.access, "").want(401).has("INVALID_AUTHENTICATION")
			r.refresh(other.refresh).want(200)
		})
	}
	r := newRig(t, nil)
	r.api("DELETE", "/appinstalls/v9/external-install", r.connect().access, "").want(404)
}

// TestRevocationFaults breaks the end of a grant: refreshes are not touched by
// its rules, and it is not by theirs.
func TestRevocationFaults(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	r.fault(`{"token":{"endpoint":"revoke","answer":"server_error","times":1}}`)
	r.fault(`{"token":{"endpoint":"revoke","answer":"invalid_client","times":1}}`)
	r.refresh(got.refresh).want(200)
	r.post("/oauth/2026-09/token/revoke", "token", got.refresh).want(500)
	r.post("/oauth/2026-09/token/revoke", "token", got.refresh).want(400).has("BAD_CLIENT_SECRET")
	r.refresh(got.refresh).want(200)
	r.fault(`{"token":{"answer":"server_error"}}`)
	r.post("/oauth/2026-09/token/revoke", "token", got.refresh).want(200)
	grant := r.box.Stats().Grants[0]
	if grant.Revocations != 3 || grant.Status != "revoked" {
		t.Errorf("%d revocations were counted of a grant that is %s; want 3, revoked", grant.Revocations, grant.Status)
	}
}

// TestUninstallFaults breaks the end of an installation.
func TestUninstallFaults(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	const path = "/appinstalls/2026-09/external-install"
	r.fault(`{"api":{"answer":"gateway_error","method":"DELETE","path_prefix":"/appinstalls/","times":1}}`)
	r.api("GET", "/crm/objects/2026-09/contacts", got.access, "").want(200)
	r.api("DELETE", path, got.access, "").want(502)
	r.refresh(got.refresh).want(200)
	r.api("DELETE", path, got.access, "").want(204)
	counts := r.box.Stats().Endpoints["DELETE /appinstalls/{version}/external-install"]
	if counts["502"] != 1 || counts["204"] != 1 {
		t.Errorf("counted %v; want one 502 and one 204", counts)
	}
}

func TestLegacyV1(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	a := r.do("GET", "/oauth/v1/access-tokens/"+got.access, "").want(http.StatusOK)
	if a.at("hub_id") != float64(sandbox.DemoHubID) || a.at("token_type") != "access" || a.at("user") == nil || a.at("signed_access_token.hublet") != "na1" {
		t.Errorf("body %s", a.body)
	}
	a = r.do("GET", "/oauth/v1/refresh-tokens/"+got.refresh, "").want(http.StatusOK)
	if a.at("client_id") != sandbox.DemoClientID || a.at("token_type") != "refresh" {
		t.Errorf("body %s", a.body)
	}
	r.do("DELETE", "/oauth/v1/refresh-tokens/"+got.refresh, "").want(http.StatusNoContent)
	r.do("DELETE", "/oauth/v1/refresh-tokens/"+got.refresh, "").want(http.StatusNotFound)
	r.do("GET", "/oauth/v1/refresh-tokens/"+got.refresh, "").want(http.StatusNotFound)
	r.do("GET", "/oauth/v1/access-tokens/"+got.access, "").want(http.StatusOK)
	r.do("GET", "/oauth/v1/access-tokens/junk", "").want(http.StatusNotFound)
	r.post("/oauth/v1/token", "grant_type", "refresh_token", "refresh_token", got.refresh).want(400).has("BAD_REFRESH_TOKEN")
	if n := r.box.Stats().LegacyV1Requests; n != 8 {
		t.Errorf("%d legacy requests counted, want 8", n)
	}
}
