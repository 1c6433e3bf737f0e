package admin_test

import (
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func TestFreezeRequests(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	for _, tc := range []struct {
		name, method, path, body, contentType string
		status                                int
		text                                  string
	}{
		{"another method", "PUT", "", `{"all":true}`, "application/json", 405, "GET, POST or DELETE"},
		{"no type", "POST", "", `{"all":true}`, "", 400, "Content-Type"},
		{"a form's type", "POST", "", `{"all":true}`, "text/plain", 400, "Content-Type"},
		{"a query", "DELETE", "?all=true", "", "application/json", 400, "not in the query"},
		{"no body", "DELETE", "", "", "application/json", 400, "not valid JSON"},
		{"no object", "POST", "", `[]`, "application/json", 400, "JSON object"},
		{"a misspelt part", "POST", "", `{"users":"acme","app":"hbdev"}`, "application/json", 400, "nothing else"},
		{"a part twice", "POST", "", `{"app":"hbdev","app":"hbdev"}`, "application/json", 400, "twice"},
		{"an empty part", "POST", "", `{"app":"hbdev","user":""}`, "application/json", 400, "is empty"},
		{"a number", "POST", "", `{"app":"hbdev","user":5}`, "application/json", 400, "as texts"},
		{"more than one", "POST", "", `{"all":true}{"all":true}`, "application/json", 400, "not valid JSON"},
		{"a long one", "POST", "", `{"all":true` + strings.Repeat(" ", 17<<10) + `}`, "application/json", 400, "larger"},
		{"a good one", "POST", "", `{"app":"hbdev"}`, "application/json; charset=utf-8", 200, `"app":"hbdev"`},
		{"its end", "DELETE", "", `{"app":"HBDEV"}`, "application/json", 200, `"freezes":[]`},
	} {
		got := h.AdminBody(tc.method, adminapi.Freezes+tc.path, tc.body, tc.contentType)
		if got.StatusCode != tc.status || !strings.Contains(got.Text, tc.text) {
			t.Errorf("%s: %s %s; want %d with %q", tc.name, got.Status, got.Text, tc.status, tc.text)
		}
	}
}
