package settings_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
)

func TestUserSource(t *testing.T) {
	t.Setenv("TENANT", "acme")
	for _, tc := range []struct {
		setting      string
		header, want string
	}{
		{"", "X-Hubspot-User", "from-header"},
		{"{http.request.header.x-tenant}", "X-Tenant", "{env.TENANT}"},
		{"globex", "", "globex"},
		{"{env.TENANT}", "", "acme"},
		{"{env.TENANT}-emea", "", "acme-emea"},
		{"{http.request.header.X-Tenant}{http.request.header.X-Tenant}", "", ""}, // no such placeholder outside of Caddy's server
		{"{http.vars.nobody}", "", ""},
		{"{env.NO_SUCH}", "", ""},
	} {
		source, err := settings.UserSource(tc.setting)
		if err != nil || source.Header != tc.header {
			t.Errorf("%q: header %q, %v; want %q", tc.setting, source.Header, err, tc.header)
			continue
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		r.Header.Set("X-HubSpot-User", "from-header")
		// What a client sends is never searched for placeholders.
		r.Header.Set("X-Tenant", "{env.TENANT}")
		if user, err := source.Find(r); user != tc.want || err != nil {
			t.Errorf("%q: user %q, %v; want %q", tc.setting, user, err, tc.want)
		}
	}
	for _, wrong := range []string{"a\nb", strings.Repeat("a", 1025)} {
		if _, err := settings.UserSource(wrong); err == nil {
			t.Errorf("%.5q was accepted", wrong)
		}
	}
}

// A file that cannot be read is not called an empty one.
func TestExpandNamesWhatIsWrongWithAFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{filepath.Join(dir, "missing"): "no such file", dir: "is a directory", empty: "is empty"} {
		if _, err := settings.Expand("{file." + file + "}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", file, err, want)
		}
	}
}
