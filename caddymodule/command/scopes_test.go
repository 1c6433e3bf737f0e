package command_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestScopesCommand(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	address := "--address=unix/" + h.AdminSocket()
	for _, args := range [][]string{{"hbdev"}, {"HBDEV", "--json"}} {
		out, err := runCommand(t, append([]string{"scopes", address}, args...)...)
		var list adminapi.ScopeList
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || list.App != "hbdev" || len(list.Scopes) < 2 || list.Problem != "" {
			t.Errorf("%v: %v, %s", args, err, out)
		}
		for _, row := range list.Scopes {
			if (row.LastNeeded != nil) != (row.Scope == "crm.objects.contacts.read") {
				t.Errorf("%v: %+v", args, row)
			}
		}
	}
	for _, tc := range []struct {
		text, code string
		args       []string
	}{
		{"there is no app", "", []string{"other", address}},
		{"give an app", "2", []string{address}},
		{"give an app", "2", []string{"a", "b", address}},
		{"unknown flag: --drop", "2", []string{"hbdev", "--drop", address}},
		{"performing request", "2", []string{"hbdev", "--address=unix//nowhere"}},
	} {
		_, err := runCommand(t, append([]string{"scopes"}, tc.args...)...)
		if err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.text)
		} else if code := exitCode(err); code != tc.code {
			t.Errorf("%v: exit code %q, want %q", tc.args, code, tc.code)
		}
	}
}
