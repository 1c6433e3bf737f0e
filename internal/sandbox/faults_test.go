package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestFaultsAreChecked(t *testing.T) {
	r := newRig(t, nil)
	tests := []struct{ name, body, want string }{
		{"unknown field", `{"token_lifetim":"1s"}`, `unknown field \"token_lifetim\"`},
		{"unknown nested field", `{"token":{"answer":"empty","time":1}}`, `unknown field \"time\"`},
		{"not an object", `[]`, "reading the fault"},
		{"two objects", `{}{}`, "one JSON object"},
		{"lifetime", `{"token_lifetime":"10ms"}`, "token_lifetime"},
		{"nothing to do", `{"token":{"times":1}}`, "answer, delay or drop"},
		{"answer", `{"token":{"answer":"cut_body"}}`, "token: answer"},
		{"api answer", `{"api":{"answer":"empty"}}`, "api: answer"},
		{"drop", `{"api":{"drop":"now"}}`, "neither before nor after"},
		{"drop and answer", `{"api":{"drop":"after","answer":"locked"}}`, "has no answer"},
		{"delay", `{"api":{"delay":"soon"}}`, "positive duration"},
		{"status", `{"api":{"answer":"locked","status":500}}`, "only server_error"},
		{"status range", `{"api":{"answer":"server_error","status":404}}`, "between 500 and 599"},
		{"times", `{"api":{"answer":"locked","times":-1}}`, "negative"},
		{"policy", `{"api":{"answer":"rate_limited","policy":"HOURLY"}}`, "policy"},
		{"policy without 429", `{"api":{"answer":"locked","policy":"DAILY"}}`, "policy"},
		{"category", `{"api":{"answer":"unauthorized","category":"X"}}`, "category"},
		{"endpoint", `{"token":{"answer":"locked","endpoint":"introspect"}}`, "neither token nor revoke"},
		{"grant type of a revocation", `{"token":{"answer":"locked","endpoint":"revoke","grant_type":"refresh_token"}}`, "a revocation has none"},
		{"broken revocation", `{"token":{"answer":"broken_json","endpoint":"revoke"}}`, "cannot be broken"},
		{"portal", `{"delete_portal":5}`, "there is no portal 5"},
		{"portal of a rule", `{"token":{"answer":"empty","hub_id":5}}`, "there is no portal 5"},
		{"secrets", `{"client_secrets":{"valid":"old"}}`, "client_secrets: valid"},
		{"secrets of no app", `{"client_secrets":{"client_id":"x","valid":"both"}}`, "there is no app"},
		{"no second secret", `{"client_secrets":{"valid":"client_secret_next"}}`, "has no client_secret_next"},
		{"app", `{"revoke":{"client_id":"x"}}`, "there is no app"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.do("POST", "/_sandbox/faults", tt.body).want(http.StatusBadRequest).has(tt.want, "SANDBOX")
		})
	}
	want := `{"token_lifetime":"30m0s","rotate_refresh_tokens":false,"revoke_on_reuse":false,"deleted_portals":[],"token":[],"api":[]}`
	if a := r.do("GET", "/_sandbox/faults", "").want(200); a.body != want {
		t.Errorf("wrong requests changed something: %s", a.body)
	}
}

func TestTheEndOfAClientSecret(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		app := sandbox.DemoApp()
		app.ClientSecretNext = secret.New("the-next-secret")
		o.Apps = []sandbox.App{app}
	})
	first := r.connect()
	check := func(valid string, status, statusNext int) {
		t.Helper()
		r.post(tokenPath, "grant_type", "refresh_token", "refresh_token", first.refresh).want(status)
		r.post(tokenPath, "grant_type", "refresh_token", "refresh_token", first.refresh, "client_secret", "the-next-secret").want(statusNext)
		if got := r.do("GET", "/_sandbox/faults", "").json()["client_secrets"]; valid != fmt.Sprint(got) {
			t.Errorf("shown as %v; want %s", got, valid)
		}
	}
	check("<nil>", 200, 200)
	r.fault(`{"client_secrets":{"valid":"client_secret"}}`)
	check("map["+sandbox.DemoClientID+":client_secret]", 200, 400)
	r.fault(`{"client_secrets":{"client_id":"` + sandbox.DemoClientID + `","valid":"client_secret_next"}}`)
	check("map["+sandbox.DemoClientID+":client_secret_next]", 400, 200)
	r.fault(`{"client_secrets":{"valid":"both"}}`)
	check("<nil>", 200, 200)
	r.fault(`{"client_secrets":{"valid":"client_secret"}}`)
	r.do("DELETE", "/_sandbox/faults", "").want(200)
	check("<nil>", 200, 200)
}

func TestFaultsAreShownAndCleared(t *testing.T) {
	r := newRig(t, nil)
	r.fault(`{"token_lifetime":"90s","rotate_refresh_tokens":true,"revoke_on_reuse":true,"delete_portal":62515001}`)
	r.fault(`{"token":{"answer":"rate_limited","retry_after":2,"times":3,"grant_type":"refresh_token"}}`)
	r.fault(`{"api":{"delay":"1ms","path_prefix":"/crm/"}}`)
	want := `{"token_lifetime":"1m30s","rotate_refresh_tokens":true,"revoke_on_reuse":true,"deleted_portals":[62515001],"token":[{"grant_type":"refresh_token","answer":"rate_limited","retry_after":2,"times":3}],"api":[{"path_prefix":"/crm/","delay":"1ms"}]}`
	if a := r.do("GET", "/_sandbox/faults", "").want(200); a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	want = `{"token_lifetime":"30m0s","rotate_refresh_tokens":false,"revoke_on_reuse":false,"deleted_portals":[],"token":[],"api":[]}`
	if a := r.do("DELETE", "/_sandbox/faults", "").want(200); a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	r.connect()
}

func TestTokenLifetimeAndExpiry(t *testing.T) {
	r := newRig(t, nil)
	long := r.connect()
	r.fault(`{"token_lifetime":"90s"}`)
	a := r.refresh(long.refresh).want(200)
	if a.at("expires_in") != 90.0 {
		t.Errorf("expires_in %v", a.at("expires_in"))
	}
	r.clock.advance(91 * time.Second)
	r.api("GET", contacts, a.at("access_token").(string), "").want(401).has("expired 1 second(s) ago")
	r.api("GET", contacts, long.access, "").want(200)

	other := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
	if got := r.fault(`{"expire_access_tokens":{"hub_id":62515001}}`).at("affected.access_tokens"); got != 1.0 {
		t.Errorf("%v access tokens expired, want 1", got)
	}
	r.api("GET", contacts, long.access, "").want(401).has("EXPIRED_AUTHENTICATION", "expired 0 second(s) ago")
	r.api("GET", contacts, other.access, "").want(200)
	r.fault(`{"expire_access_tokens":{}}`)
	r.api("GET", contacts, other.access, "").want(401)
	r.api("GET", contacts, r.refresh(long.refresh).want(200).at("access_token").(string), "").want(200)
}

func TestGrantsCanBeEnded(t *testing.T) {
	t.Run("revoke by portal", func(t *testing.T) {
		r := newRig(t, nil)
		one, two := r.connect(), r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		if got := r.fault(`{"revoke":{"hub_id":62515001}}`).at("affected.grants"); got != 1.0 {
			t.Errorf("%v grants revoked", got)
		}
		r.refresh(one.refresh).want(400).has("BAD_REFRESH_TOKEN")
		r.api("GET", contacts, one.access, "").want(200)
		r.refresh(two.refresh).want(200)
	})
	t.Run("revoke one grant", func(t *testing.T) {
		r := newRig(t, nil)
		one, two := r.connect(), r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		id := r.box.Stats().Grants[1].Grant
		r.fault(`{"revoke":{"grant":"` + id + `"}}`)
		r.refresh(two.refresh).want(400)
		r.refresh(one.refresh).want(200)
	})
	t.Run("uninstall", func(t *testing.T) {
		r := newRig(t, nil)
		one := r.connect()
		r.fault(`{"uninstall":{}}`)
		r.refresh(one.refresh).want(400).has("BAD_REFRESH_TOKEN")
		r.api("GET", contacts, one.access, "").want(401).has("INVALID_AUTHENTICATION")
		if again := r.connect(); again.refresh == one.refresh {
			t.Error("the old refresh token is back")
		}
	})
	t.Run("delete and restore a portal", func(t *testing.T) {
		r := newRig(t, nil)
		one := r.connect()
		code := r.code()
		r.fault(`{"delete_portal":62515001}`)
		want := `{"error":"access_denied","error_description":"missing or unknown hub id","status":"BAD_HUB","message":"missing or unknown hub id"}`
		if a := r.refresh(one.refresh).want(400); a.body != want {
			t.Errorf("body %s", a.body)
		}
		r.post(tokenPath, "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI).want(400).has("BAD_HUB")
		r.api("GET", contacts, one.access, "").want(401)
		r.do("GET", authorizePath("_sandbox_approve", hub(sandbox.DemoHubID)), "").want(400)
		if page := r.do("GET", authorizePath(), "").want(200); strings.Contains(page.body, "acme.example.com") {
			t.Error("the deleted account is offered")
		}
		r.fault(`{"restore_portal":62515001}`)
		r.refresh(one.refresh).want(200)
	})
}

func TestRotation(t *testing.T) {
	t.Run("the old token dies", func(t *testing.T) {
		r := newRig(t, nil)
		first := r.connect().refresh
		r.fault(`{"rotate_refresh_tokens":true}`)
		second := r.refresh(first).want(200).at("refresh_token").(string)
		if second == first {
			t.Fatal("not rotated")
		}
		r.refresh(first).want(400).has("BAD_REFRESH_TOKEN")
		r.refresh(second).want(200)
	})
	t.Run("reuse revokes", func(t *testing.T) {
		r := newRig(t, nil)
		first := r.connect().refresh
		r.fault(`{"rotate_refresh_tokens":true,"revoke_on_reuse":true}`)
		second := r.refresh(first).want(200).at("refresh_token").(string)
		r.refresh(first).want(400)
		r.refresh(second).want(400)
		if s := r.box.Stats().Grants[0]; s.Status != "revoked" || s.Refreshes != 1 || s.RefusedRefreshes != 2 {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("a lost answer loses the token", func(t *testing.T) {
		r := newRig(t, nil)
		first := r.connect().refresh
		r.fault(`{"rotate_refresh_tokens":true,"token":{"drop":"after","times":1}}`)
		if _, err := r.try("POST", tokenPath, formBody("grant_type", "refresh_token", "refresh_token", first), "Content-Type", form); err == nil {
			t.Fatal("the connection was not dropped")
		}
		r.refresh(first).want(400).has("BAD_REFRESH_TOKEN")
	})
}

func TestTokenRules(t *testing.T) {
	tests := []struct {
		name, rule string
		status     int
		body       string
		header     map[string]string
	}{
		{"invalid_client", `{"answer":"invalid_client"}`, 400, `"error":"invalid_client"`, nil},
		{"invalid_grant", `{"answer":"invalid_grant"}`, 400, `"error":"invalid_grant"`, nil},
		{"rate_limited", `{"answer":"rate_limited","retry_after":7}`, 429, `"category":"RATE_LIMITS"`, map[string]string{"Retry-After": "7"}},
		{"server_error", `{"answer":"server_error"}`, 500, `"status":"error"`, nil},
		{"server_error with status", `{"answer":"server_error","status":503,"retry_after":1}`, 503, `"status":"error"`, map[string]string{"Retry-After": "1"}},
		{"gateway_error", `{"answer":"gateway_error","status":524}`, 524, `<html>`, map[string]string{"Content-Type": "text/html; charset=UTF-8"}},
		{"locked", `{"answer":"locked"}`, 423, `"status":"error"`, nil},
		{"migration", `{"answer":"migration","retry_after":60}`, 477, `"status":"error"`, map[string]string{"Retry-After": "60"}},
		{"delay", `{"delay":"1ms"}`, 200, `"access_token"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			got := r.connect()
			r.fault(`{"token":` + strings.TrimSuffix(tt.rule, "}") + `,"times":1}}`)
			a := r.refresh(got.refresh).want(tt.status).has(tt.body)
			for name, want := range tt.header {
				if a.header.Get(name) != want {
					t.Errorf("%s %q, want %q", name, a.header.Get(name), want)
				}
			}
			r.refresh(got.refresh).want(200)
			if n := r.box.Stats().TokenFaults; n != 1 {
				t.Errorf("%d faults counted", n)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		r := newRig(t, nil)
		got := r.connect()
		r.fault(`{"token":{"answer":"empty","times":1}}`)
		if a := r.refresh(got.refresh).want(200); a.body != "" {
			t.Errorf("body %q", a.body)
		}
		if n := r.box.Stats().Grants[0].Refreshes; n != 1 {
			t.Errorf("%d refreshes, want the one that was answered with nothing", n)
		}
	})
	t.Run("broken JSON", func(t *testing.T) {
		r := newRig(t, nil)
		got := r.connect()
		r.fault(`{"token":{"answer":"broken_json","times":1}}`)
		if a := r.refresh(got.refresh).want(200); json.Valid([]byte(a.body)) || a.body == "" {
			t.Errorf("body %q", a.body)
		}
	})
	t.Run("drop before", func(t *testing.T) {
		r := newRig(t, nil)
		got := r.connect()
		r.fault(`{"token":{"drop":"before","times":1}}`)
		if _, err := r.try("POST", tokenPath, formBody("grant_type", "refresh_token", "refresh_token", got.refresh), "Content-Type", form); err == nil {
			t.Error("the connection was not dropped")
		}
		s := r.box.Stats()
		if s.Grants[0].Refreshes != 0 || s.Endpoints["POST /oauth/{version}/token"]["0"] != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("narrowed, in order, until cleared", func(t *testing.T) {
		r := newRig(t, nil)
		one, two := r.connect(), r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		r.fault(`{"token":{"answer":"locked","hub_id":145700002,"times":1}}`)
		r.fault(`{"token":{"answer":"server_error","grant_type":"refresh_token","hub_id":145700002}}`)
		r.refresh(one.refresh).want(200)
		r.refresh(two.refresh).want(423)
		for range 3 {
			r.refresh(two.refresh).want(500)
		}
		r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		r.do("DELETE", "/_sandbox/faults", "").want(200)
		r.refresh(two.refresh).want(200)
	})
}

func TestAPIRules(t *testing.T) {
	tests := []struct {
		name, rule string
		status     int
		body       []string
	}{
		{"429 burst", `{"answer":"rate_limited"}`, 429, []string{"TEN_SECONDLY_ROLLING", `"errorType":"RATE_LIMIT"`}},
		{"429 secondly", `{"answer":"rate_limited","policy":"SECONDLY"}`, 429, []string{`"policyName":"SECONDLY"`}},
		{"429 daily", `{"answer":"rate_limited","policy":"DAILY"}`, 429, []string{"You have reached your daily limit.", `"policyName":"DAILY"`}},
		{"429 search", `{"answer":"rate_limited","policy":"SEARCH"}`, 429, []string{`{"status":"error","message":"You have reached your secondly limit.","category":"RATE_LIMITS"}`}},
		{"401 expired", `{"answer":"unauthorized"}`, 401, []string{"EXPIRED_AUTHENTICATION"}},
		{"401 invalid", `{"answer":"unauthorized","category":"INVALID_AUTHENTICATION"}`, 401, []string{"INVALID_AUTHENTICATION"}},
		{"500", `{"answer":"server_error"}`, 500, []string{"error"}},
		{"504", `{"answer":"gateway_error","status":504}`, 504, []string{"<html>"}},
		{"423", `{"answer":"locked"}`, 423, []string{"locked"}},
		{"477", `{"answer":"migration"}`, 477, []string{"moved"}},
		{"delay", `{"delay":"1ms"}`, 200, []string{"results"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			token := r.connect().access
			r.fault(`{"api":` + strings.TrimSuffix(tt.rule, "}") + `,"times":1}}`)
			a := r.api("GET", contacts, token, "").want(tt.status).has(tt.body...)
			if a.header.Get("X-HubSpot-Correlation-Id") == "" {
				t.Error("no correlation id")
			}
			if id, ok := a.header["X-Hubspot-Correlation-Id"]; ok && strings.Contains(a.body, "correlationId") && !strings.Contains(a.body, id[0]) {
				t.Errorf("correlation id %s is not the body's: %s", id[0], a.body)
			}
			r.api("GET", contacts, token, "").want(200)
		})
	}
	t.Run("cut body", func(t *testing.T) {
		r := newRig(t, nil)
		token := r.connect().access
		r.fault(`{"api":{"answer":"cut_body","times":1}}`)
		a, err := r.try("GET", contacts, "", "Authorization", "Bearer "+token)
		if err == nil || a.status != 200 || !strings.HasPrefix(a.body, `{"results":[`) {
			t.Errorf("status %d, error %v, body %q", a.status, err, a.body)
		}
	})
	t.Run("drop after", func(t *testing.T) {
		r := newRig(t, nil)
		token := r.connect().access
		r.fault(`{"api":{"drop":"after","method":"post","times":1}}`)
		r.api("GET", contacts, token, "").want(200)
		if _, err := r.try("POST", contacts, `{"properties":{"email":"lost@example.com"}}`, "Authorization", "Bearer "+token, "Content-Type", "application/json"); err == nil {
			t.Error("the connection was not dropped")
		}
		r.api("GET", contacts+"/lost@example.com?idProperty=email", token, "").want(200)
	})
	t.Run("narrowed", func(t *testing.T) {
		r := newRig(t, nil)
		token := r.connect().access
		r.fault(`{"api":{"answer":"locked","path_prefix":"/crm/v3/"}}`)
		r.api("GET", contacts, token, "").want(200)
		r.api("GET", "/crm/v3/objects/contacts", token, "").want(423)
		r.do("GET", "/crm/v3/objects/contacts", "").want(401)
	})
}

func TestDelay(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	r.fault(`{"token":{"delay":"40ms","times":1},"api":{"delay":"40ms","times":1}}`)
	start := time.Now()
	r.refresh(got.refresh).want(200)
	r.api("GET", contacts, got.access, "").want(200)
	if took := time.Since(start); took < 80*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// TestDelaysDoNotBlockOthers uses the sandbox while requests hang in it.
func TestDelaysDoNotBlockOthers(t *testing.T) {
	r := newRig(t, nil)
	one, two := r.connect(), r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
	r.fault(`{"token":{"delay":"1h","hub_id":62515001},"api":{"delay":"1h","hub_id":62515001}}`)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		for _, req := range []*http.Request{
			r.request(ctx, "POST", tokenPath, formBody("grant_type", "refresh_token", "refresh_token", one.refresh), "Content-Type", form),
			r.request(ctx, "GET", contacts, "", "Authorization", "Bearer "+one.access),
		} {
			wg.Go(func() {
				if _, err := r.send(req); !errors.Is(err, context.Canceled) {
					t.Errorf("want a request that hangs until it is cancelled, got error %v", err)
				}
			})
		}
	}
	for {
		a := r.do("GET", "/_sandbox/stats", "").want(200)
		if a.at("token_faults") == 3.0 && a.at("api_faults") == 3.0 {
			break
		}
	}
	r.refresh(two.refresh).want(200)
	r.api("GET", contacts, two.access, "").want(200)
	r.api("POST", contacts, two.access, `{"properties":{"firstname":"Meanwhile"}}`).want(201)
	r.fault(`{"expire_access_tokens":{"hub_id":145700002}}`)
	if s := r.box.Stats().Grants[0]; s.MaxConcurrentRefreshes != 3 || s.Refreshes != 0 {
		t.Errorf("stats %+v", s)
	}
	cancel()
	wg.Wait()
}
