package callerapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// The list shows which connections need a reconnect, with a link for what was
// granted, to callers that could ask for one.
func TestListOfThoseThatNeedAReconnect(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	k.ConnectInSandbox("acme", sandbox.DemoHubID, "crm.objects.companies.read")
	k.Fault(`{"revoke":{},"expire_access_tokens":{}}`)
	if _, err := k.App("hbdev").Manager.ForceRefresh(t.Context(), "acme"); err == nil {
		t.Fatal("the grant is not dead")
	}
	for i := range 5 {
		k.ConnectAs(fmt.Sprintf("well-%d", i), sidecartest.AccessToken)
	}
	token := issueToken(k, `{"userForeignIdentifier":"acme"}`)
	narrowed := issueToken(k, `{"userForeignIdentifier":"acme","allow":["GET /crm/*"]}`)
	// walk goes through all pages.
	walk := func(key, query string) (all []callerapi.View) {
		t.Helper()
		for after := ""; ; {
			got := k.As(key, "GET", "/hubspot/connections/hbdev?"+query+after)
			var page callerapi.Page
			if got.JSON(t, &page); got.StatusCode != 200 {
				t.Fatalf("%s: %s %s", query, got.Status, got.Text)
			}
			all = append(all, page.Results...)
			if page.Paging == nil {
				return all
			}
			after = "&after=" + page.Paging.Next.After
		}
	}
	const link = "oauth crm.objects.contacts.read | crm.objects.companies.read"
	for _, tc := range []struct {
		key, query string
		n          int
		want       string
	}{
		{sidecartest.CallerKey, "", 6, link},
		{sidecartest.CallerKey, "status=reauth_required", 1, link},
		{sidecartest.CallerKey, "status=reauth_required&limit=2", 1, link},
		{sidecartest.CallerKey, "status=active&limit=1", 5, ""},
		{token, "", 1, link},
		{token, "status=reauth_required", 1, link},
		{token, "status=active", 0, ""},
	} {
		all, asked := walk(tc.key, tc.query), ""
		for _, v := range all {
			if (v.Status == connection.StatusReauthRequired) != (v.User == "acme" && v.Reason != "" && !v.ReasonAt.IsZero()) {
				t.Errorf("%s: %+v", tc.query, v)
			}
			if l := v.Links["reconnect"]; l != "" {
				asked += sidecartest.QueryOf(t, l, "scope") + " | " + sidecartest.QueryOf(t, l, "optional_scope")
			}
		}
		if len(all) != tc.n || asked != tc.want {
			t.Errorf("%q: %d connections, links for %q; want %d, %q", tc.query, len(all), asked, tc.n, tc.want)
		}
	}
	for key, want := range map[string]bool{sidecartest.CallerKey: true, narrowed: false} {
		if got := k.As(key, "GET", "/hubspot/connections/hbdev/acme"); got.StatusCode != 200 || strings.Contains(got.Text, `"links":{"reconnect":"`) != want {
			t.Errorf("the one: %s %s", got.Status, got.Text)
		}
	}
	for _, key := range []string{sidecartest.CallerKey, token} {
		for _, query := range []string{"status=dead", "status=disconnected", "status=active&status=active"} {
			if got := k.As(key, "GET", "/hubspot/connections/hbdev?"+query); got.StatusCode != 400 {
				t.Errorf("%s: %s", query, got.Status)
			}
		}
	}
	k.Freeze(freeze.Selector{App: "hbdev", Writes: true})
	if all := walk(sidecartest.CallerKey, "status=reauth_required"); len(all) != 1 || all[0].Links != nil {
		t.Errorf("while installs are frozen: %+v", all)
	}
	if logs := k.Logs.String(); strings.Contains(logs, "oauth/authorize") {
		t.Error("a link is in the log")
	}
}
