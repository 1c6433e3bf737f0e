package command_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// Which connections need a reconnect, as JSON and CSV, over all pages.
func TestConnectionsThatNeedAReconnect(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	for _, user := range []string{"acme", "globex", "initech"} {
		h.ConnectAs(user, caddytest.AccessToken)
	}
	// HubSpot knows nothing of the grants above, and ends this one.
	h.Connect("=1+1", sandbox.DemoHubID)
	h.Fault(`{"revoke":{},"expire_access_tokens":{}}`)
	if got := h.Get(contacts, "=1+1"); got.StatusCode != 401 {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	address := "--address=unix/" + h.AdminSocket()
	run := func(args ...string) string {
		t.Helper()
		out, err := runCommand(t, append([]string{"connections", address, "hbdev"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	for _, args := range [][]string{{"--status=reauth_required"}, {"--status=reauth_required", "--limit=1"}, {"--status=reauth_required", "--all", "--json", "--limit=1"}} {
		var page callerapi.Page
		if err := json.Unmarshal([]byte(run(args...)), &page); err != nil || len(page.Results) != 1 {
			t.Fatalf("%v: %+v, %v", args, page, err)
		}
		v := page.Results[0]
		if v.User != "=1+1" || v.Reason == "" || v.ReasonAt.IsZero() || !strings.Contains(v.Links["reconnect"], "/oauth/authorize?") {
			t.Errorf("%v: %+v", args, v)
		}
	}
	for arg, want := range map[string]int{"--status=active": 3, "--limit=2": 4} {
		rows, err := csv.NewReader(strings.NewReader(run("--all", "--csv", arg))).ReadAll()
		if err != nil || len(rows) != want+1 {
			t.Errorf("%s: %q, %v", arg, rows, err)
		}
	}
	if out := run("--csv", "--limit=1"); !strings.Contains(out, "There are more: go on with --after ") {
		t.Errorf("a page of CSV: %s", out)
	}
	if out := run("--csv", "--status=reauth_required", "--all"); !strings.Contains(out, "\n'=1+1,") {
		t.Errorf("a formula: %s", out)
	}
	for _, tc := range []struct {
		text, code string
		args       []string
	}{
		{"there is no app", "", []string{"other", address}},
		{`there are ["active" "reauth_required"`, "2", []string{"hbdev", "--status=dead", address}},
		{"limit: give a number", "2", []string{"hbdev", "--limit=0", address}},
		{"either --csv or --json", "2", []string{"hbdev", "--csv", "--json", address}},
		{`invalid argument "x" for "--limit"`, "2", []string{"hbdev", "--limit=x", address}},
		{"accepts between 1 and 2 arg(s)", "2", []string{address}},
		{"user is not connected", "", []string{"hbdev", "nobody", address}},
		{"performing request", "2", []string{"hbdev", "--address=unix//nowhere"}},
	} {
		_, err := runCommand(t, append([]string{"connections"}, tc.args...)...)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), tc.text) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.text)
		} else if code := exitCode(err); code != tc.code {
			t.Errorf("%v: exit code %q, want %q", tc.args, code, tc.code)
		}
	}
}
