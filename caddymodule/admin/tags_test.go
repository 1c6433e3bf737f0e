package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func TestAdminTags(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	ask := func(method, path, body string) caddytest.Answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return h.Read(h.AdminClient().Do(req))
	}
	got := ask("POST", "/hubspot/tags/HBdev", `{"userForeignIdentifier":"acme"}`)
	var tag adminapi.TagAnswer
	if err := json.Unmarshal([]byte(got.Text), &tag); err != nil || tag.UserTag != h.App("hbdev").Manager.Tag(t.Context(), "acme") || len(tag.UserTag) != 12 {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/hubspot/tags/hbdev", "", 405},
		{"POST", "/hubspot/tags/none", `{"userForeignIdentifier":"acme"}`, 404},
		{"POST", "/hubspot/tags/hbdev", `{}`, 400},
		{"POST", "/hubspot/tags/hbdev", `acme`, 400},
		{"POST", "/hubspot/tags/hbdev", `{"userForeignIdentifier":"` + strings.Repeat("a", 16<<10) + `"}`, 400},
	} {
		if got := ask(tc.method, tc.path, tc.body); got.StatusCode != tc.status {
			t.Errorf("%s %s %.40s: %s: %s", tc.method, tc.path, tc.body, got.Status, got.Text)
		}
	}
}
