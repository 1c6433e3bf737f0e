package command_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestQuotaCommand(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	address, portal := "--address=unix/"+h.AdminSocket(), strconv.FormatInt(sandbox.DemoHubID, 10)
	for _, args := range [][]string{{"hbdev"}, {"hbdev", portal}, {"hbdev", portal, "--reset"}, {"hbdev", "--json"}} {
		out, err := runCommand(t, append([]string{"quota", address}, args...)...)
		var list adminapi.QuotaList
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Quotas) != 1 || list.Quotas[0].Used != 1 {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
	for _, tc := range []struct {
		text, code string
		args       []string
	}{
		{"nothing is known of portal 1", "", []string{"hbdev", "1", address}},
		{"there is no app", "", []string{"other", address}},
		{"give an app", "2", []string{address}},
		{"give an app", "2", []string{"a", "1", "2", address}},
		{`\"acme\" is not the number of a portal`, "2", []string{"hbdev", "acme", address}},
		{"unknown flag: --rest", "2", []string{"hbdev", "--rest", address}},
		{"performing request", "2", []string{"hbdev", "--address=unix//nowhere"}},
	} {
		_, err := runCommand(t, append([]string{"quota"}, tc.args...)...)
		if err == nil || !strings.Contains(strconv.Quote(err.Error()), tc.text) && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.text)
		} else if code := exitCode(err); code != tc.code {
			t.Errorf("%v: exit code %q, want %q", tc.args, code, tc.code)
		}
	}
}

// exitCode is the one that an error carries for Caddy; without one it exits
// with 1. Its type is Caddy's own.
func exitCode(err error) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct || !v.FieldByName("ExitCode").IsValid() {
		return ""
	}
	return strconv.FormatInt(v.FieldByName("ExitCode").Int(), 10)
}
