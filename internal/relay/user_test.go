package relay

import (
	"io"
	"strings"
	"testing"
)

func TestWhoseRequestItIs(t *testing.T) {
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		_, err := w.Write([]byte(jsonAnswer(200, `"`+strings.TrimPrefix(m.first("Authorization"), "Bearer C")+`"`)))
		return err
	})
	h := newHarness(t)
	users := []string{"acme", "globex", "a/b", "a%2Fb", "jo@example.com", "é", "{http.request.host}", "tenant-7", "x, y"}
	for _, tc := range []struct {
		setting, line string
		header        []string
		want          string
		gone          []string
	}{
		{"", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "acme", []string{"X-HubSpot-User"}},
		{"", "GET /crm/x", []string{"x-hubspot-user:   acme  ", "X-HUBSPOT-USER: acme"}, "acme", []string{"X-HubSpot-User"}},
		{"", "GET /crm/x", []string{"X-HubSpot-User: a%2Fb"}, "a%2Fb", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: é"}, "é", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: x, y"}, "x, y", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: {http.request.host}"}, "{http.request.host}", nil},
		{"", "GET /as/globex/crm/x", []string{"X-HubSpot-User: acme"}, "globex", []string{"X-HubSpot-User"}},
		{"", "GET /as/a%2Fb/crm/x", nil, "a/b", nil},
		{"", "GET /as/jo%40example.com/crm/x", nil, "jo@example.com", nil},
		{"", "GET /as/{http.request.host}/crm/x", nil, "{http.request.host}", nil},
		{"{http.request.header.X-Tenant}", "GET /crm/x", []string{"X-Tenant: acme", "X-HubSpot-User: globex"}, "acme", []string{"X-Tenant", "X-HubSpot-User"}},
		{"{header.x-tenant}", "GET /crm/x", []string{"X-Tenant: {http.request.host}"}, "{http.request.host}", []string{"X-Tenant"}},
		{"tenant-{http.request.header.X-Tenant}", "GET /crm/x", []string{"X-Tenant: 7"}, "tenant-7", nil},
		{"{http.request.uri.query.tenant}", "GET /crm/x?tenant=%7Bhttp.request.host%7D", nil, "{http.request.host}", nil},
		{"globex", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "globex", []string{"X-HubSpot-User"}},
		{"globex", "GET /as/acme/crm/x", nil, "acme", nil},
		{"tenant-{http.request.header.X-Tenant}", "GET /crm/x", nil, "", nil},
		{"{http.auth.user.id}", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", nil},
		{"{http.request.header.X-Tenant}", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", nil},
	} {
		t.Run(tc.setting+" "+tc.line, func(t *testing.T) {
			site := "hubspot_proxy hbdev"
			if tc.setting != "" {
				site += " {\n user " + tc.setting + "\n }"
			}
			if err := h.Load(withAPI(hubspotCaddyfile("", site), upstream.url())); err != nil {
				t.Fatal(err)
			}
			for _, user := range users {
				connect(t, h, user, "C"+user)
			}
			got := h.raw(tc.line, tc.header...)
			if tc.want == "" {
				wantOwnError(t, got, 400, "user_required")
				return
			}
			if got.Text != `"`+tc.want+`"` {
				t.Errorf("%s for %s, want %q", got.Status, got.Text, tc.want)
			}
			sent := upstream.last(t)
			for _, name := range tc.gone {
				if values := sent.get(name); values != nil {
					t.Errorf("%s went up: %q", name, values)
				}
			}
		})
	}
}

func TestUserSettings(t *testing.T) {
	h := newHarness(t)
	for _, setting := range []string{strings.Repeat("u", 1025), "\"a\tb\""} {
		err := h.Load(hubspotCaddyfile("", "hubspot_proxy hbdev {\n user "+setting+"\n }"))
		if err == nil || !strings.Contains(err.Error(), "user: ") || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%.10q: loaded with %v", setting, err)
		}
	}
}
