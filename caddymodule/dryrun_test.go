package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// trialCallers have policies on trial.
const trialCallers = `
		app other {
			client_id     {env.HUBSPOT_CLIENT_ID}
			client_secret {env.HUBSPOT_CLIENT_SECRET}
		}
		caller trial {
			key {env.TRIAL_KEY}
			users globex-*
			allow GET /crm/*
			deny * /crm/*/gdpr-delete
			dry_run
		}
		caller elsewhere {
			key {env.ELSEWHERE_KEY}
			apps other
			dry_run
		}`

const (
	trialKey     = "trial-key-0123456789-0123"
	elsewhereKey = "elsewhere-key-0123456789"
)

// dryRunLine is what is logged of a refusal that is none.
type dryRunLine struct {
	Msg, App, Caller, Dimension, Rule string
	UserTag                           string `json:"user_tag"`
	CorrelationID                     string `json:"correlation_id"`
}

func dryRunLines(t *testing.T, logs string) []dryRunLine {
	t.Helper()
	var lines []dryRunLine
	for text := range strings.Lines(logs) {
		if !strings.Contains(text, "dry_run: ") {
			continue
		}
		var line dryRunLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func startTrial(t *testing.T) *caddytest.Harness {
	t.Helper()
	t.Setenv("TRIAL_KEY", trialKey)
	t.Setenv("ELSEWHERE_KEY", elsewhereKey)
	upstream := caddytest.Upstream(t)
	h := caddytest.Start(t, caddytest.Unpaced(caddytest.WithAPI(caddytest.Caddyfile(trialCallers, "log\nhubspot_auth\nhubspot_proxy hbdev"), upstream)), caddytest.WithAdmin())
	h.ConnectAs("acme", caddytest.AccessToken)
	h.ConnectAs("globex-1", caddytest.AccessToken)
	return h
}

func TestDryRun(t *testing.T) {
	h := startTrial(t)
	if !strings.Contains(h.Logs.String(), "the policy of a caller is on trial (dry_run)") {
		t.Error("loading the config has not warned")
	}
	counts := make(map[string]int)
	for _, tc := range []struct {
		name, key, line string
		// noted are the dimensions and rules of the lines.
		noted []string
	}{
		{"permitted", trialKey, "GET /as/globex-1/crm/x", nil},
		{"user", trialKey, "GET /as/acme/crm/x", []string{"user "}},
		{"method", trialKey, "POST /as/globex-1/crm/x", []string{"method "}},
		{"path", trialKey, "GET /as/globex-1/files/x", []string{"path "}},
		{"deny", trialKey, "GET /as/globex-1/crm/a/gdpr-delete", []string{"path * /crm/*/gdpr-delete"}},
		{"two readings", trialKey, "GET /as/globex-1/crm/a/../../files/x", []string{"path "}},
		{"user and path", trialKey, "GET /as/acme/files/x", []string{"user ", "path "}},
		{"app", elsewhereKey, "GET /as/acme/crm/x", []string{"app "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(h.Logs.String())
			if got := h.Raw(tc.line, "Authorization: Bearer "+tc.key); got.Text != `{"ok": true}` {
				t.Fatalf("%s %s", got.Status, got.Text)
			}
			caller := map[string]string{trialKey: "trial", elsewhereKey: "elsewhere"}[tc.key]
			lines := dryRunLines(t, h.Logs.String()[before:])
			var noted []string
			for _, line := range lines {
				noted = append(noted, line.Dimension+" "+line.Rule)
				counts[line.Caller+" "+line.Dimension]++
				if line.App != "hbdev" || line.Caller != caller || line.UserTag == "" || line.UserTag == "unknown" || len(line.CorrelationID) != 36 {
					t.Errorf("line %+v", line)
				}
			}
			if strings.Join(noted, ",") != strings.Join(tc.noted, ",") {
				t.Errorf("noted %q, want %q", noted, tc.noted)
			}
			if len(lines) > 0 {
				h.WaitFor("the access log", func() bool {
					return strings.Contains(h.Logs.String()[before:], `"dry_run":"`+lines[0].CorrelationID+`"`)
				})
			}
		})
	}
	metrics := h.Admin(http.MethodGet, "/metrics").Text
	for labels, want := range counts {
		caller, dimension, _ := strings.Cut(labels, " ")
		line := fmt.Sprintf(`caddy_hubspot_dry_run_refusals_total{app="hbdev",caller=%q,dimension=%q} %d`, caller, dimension, want)
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics are without %s", line)
		}
	}
	if len(counts) != 4 {
		t.Errorf("counted %v, want all four dimensions", counts)
	}
}

// What no caller may do, and what is not a matter of policy, stays refused.
func TestDryRunRefuses(t *testing.T) {
	h := startTrial(t)
	for _, tc := range []struct {
		line, key string
		status    int
		kind      string
	}{
		{"GET /as/acme/oauth/v1/token", trialKey, 403, "endpoint_blocked"},
		{"GET /as/acme/crm/../oauth/v1/token", trialKey, 400, "bad_request"},
		{"GET /as/acme/crm/%00", trialKey, 400, "bad_request"},
		{"TRACE /as/acme/crm/x", trialKey, 403, "endpoint_blocked"},
		{"GET /crm/x", trialKey, 400, "user_required"},
		{"GET /as/acme/crm/x", "wrong-key-0123456789012", 401, "caller_unauthenticated"},
	} {
		sidecartest.WantOwnError(t, h.Raw(tc.line, "Authorization: Bearer "+tc.key), tc.status, tc.kind)
	}
}

// The other ways in: an envelope, and the endpoints for callers.
func TestDryRunElsewhere(t *testing.T) {
	h := startTrial(t)
	ask := func(method, path, key, body string, header ...string) (caddytest.Answer, []dryRunLine) {
		t.Helper()
		before := len(h.Logs.String())
		got := h.Do(method, path, strings.NewReader(body), append(header, "Authorization", "Bearer "+key)...)
		return got, dryRunLines(t, h.Logs.String()[before:])
	}
	for _, tc := range []struct {
		name, method, path, key, body string
		noted                         string
	}{
		{"envelope", http.MethodPost, "/raw/hbdev", trialKey, "method=GET&url=/files/x&userForeignIdentifier=globex-1", "path"},
		{"install link", http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=acme", trialKey, "", "user"},
		{"install link for another app", http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=acme", elsewhereKey, "", "app"},
		{"connection", http.MethodGet, "/hubspot/connections/hbdev/acme", trialKey, "", "user"},
		{"connection of a permitted user", http.MethodGet, "/hubspot/connections/hbdev/globex-1", trialKey, "", ""},
		{"list", http.MethodGet, "/hubspot/connections/hbdev", trialKey, "", "user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, lines := ask(tc.method, tc.path, tc.key, tc.body, "Content-Type", "application/x-www-form-urlencoded")
			if got.StatusCode != 200 {
				t.Fatalf("%s %s", got.Status, got.Text)
			}
			var noted []string
			for _, line := range lines {
				noted = append(noted, line.Dimension)
			}
			if strings.Join(noted, ",") != tc.noted {
				t.Errorf("noted %q, want %q", noted, tc.noted)
			}
			if tc.name == "list" && !strings.Contains(got.Text, `"acme"`) {
				t.Errorf("a user is hidden: %s", got.Text)
			}
		})
	}
	// An app that is not there is no label of a metric.
	got, lines := ask(http.MethodGet, "/hubspot/connections/no-such-app", elsewhereKey, "")
	sidecartest.WantOwnError(t, got, 403, "caller_forbidden")
	if len(lines) != 0 {
		t.Errorf("noted %+v", lines)
	}
}

// What a program was given for one user is held to its own scope and to its
// issuer's policy, also while that is on trial for the issuer.
func TestUserTokensAreNotOnTrial(t *testing.T) {
	h := startTrial(t)
	ask := func(user string) string {
		t.Helper()
		var issued struct{ Token string }
		h.Do(http.MethodPost, "/hubspot/tokens/hbdev", strings.NewReader(`{"userForeignIdentifier":"`+user+`","allow":["GET /crm/x","GET /cms/*"]}`),
			"Authorization", "Bearer "+trialKey, "Content-Type", "application/json").JSON(t, &issued)
		return issued.Token
	}
	for _, tc := range []struct{ user, path, dimension string }{
		{"globex-1", "/crm/y", "path"}, // not in the token's scope
		{"globex-1", "/cms/x", "path"}, // not in the issuer's policy
		{"acme", "/crm/x", "user"},
	} {
		e := sidecartest.WantOwnError(t, h.Do(http.MethodGet, tc.path, nil, "Authorization", "Bearer "+ask(tc.user)), 403, "caller_forbidden")
		if e.Context["dimension"][0] != tc.dimension {
			t.Errorf("%s of %s: dimension %v", tc.path, tc.user, e.Context["dimension"])
		}
	}
}
