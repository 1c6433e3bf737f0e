package callerapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// linkAnswer is the answer of the link endpoint.
type linkAnswer struct{ URL, UUID string }

func TestAuthLink(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	got := k.Get("/hubspot/auth/HbDev?userForeignIdentifier=a%2Fb%40c.example", "")
	want := regexp.MustCompile(`^\{"url":"` + regexp.QuoteMeta(k.SandboxURL) + `/oauth/authorize\?[^"\\]+","userForeignIdentifier":"a/b@c.example","UUID":"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"\}\n$`)
	if got.StatusCode != http.StatusOK || !want.MatchString(got.Text) {
		t.Fatalf("link: %s: %s", got.Status, got.Text)
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
		t.Errorf("Content-Type is %q", ct)
	}
	if cc := got.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control is %q", cc)
	}
	var link linkAnswer
	got.JSON(t, &link)
	for name, want := range map[string]string{
		"client_id": sidecartest.ClientID, "redirect_uri": sidecartest.RedirectURI, "response_type": "code", "code_challenge_method": "S256",
		"scope": "oauth crm.objects.contacts.read", "optional_scope": "crm.objects.contacts.write crm.objects.companies.read",
	} {
		if got := sidecartest.QueryOf(t, link.URL, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(link.URL, "scope=oauth%20crm.objects.contacts.read&") {
		t.Errorf("scopes of %q are not separated by %%20", link.URL)
	}
	var again linkAnswer
	k.Get("/hubspot/auth/hbdev?userForeignIdentifier=a%2Fb%40c.example", "").JSON(t, &again)
	if again.UUID != link.UUID || again.URL == link.URL {
		t.Error("a second link has another UUID, or the same state")
	}
	head := k.Do(http.MethodHead, "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil, "Authorization", "Bearer "+sidecartest.CallerKey)
	if head.StatusCode != http.StatusOK || head.Text != "" {
		t.Errorf("HEAD: %s: %q", head.Status, head.Text)
	}
}

func TestAuthAPIRefusals(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	const link = "/hubspot/auth/hbdev?userForeignIdentifier="
	tests := map[string]struct {
		target, key string
		status      int
		sub, text   string
	}{
		"no key":                  {link + "acme", "", 401, "caller_unauthenticated", "No caller key"},
		"unknown key":             {link + "acme", "some-other-key-0123456789", 401, "caller_unauthenticated", "not known"},
		"no user":                 {"/hubspot/auth/hbdev", sidecartest.CallerKey, 400, "user_required", "userForeignIdentifier"},
		"empty user":              {link, sidecartest.CallerKey, 400, "user_required", "userForeignIdentifier"},
		"two users":               {link + "a&userForeignIdentifier=b", sidecartest.CallerKey, 400, "bad_request", "twice"},
		"user not UTF-8":          {link + "%ff", sidecartest.CallerKey, 400, "bad_request", "UTF-8"},
		"user too long":           {link + strings.Repeat("x", userid.MaxLength+1), sidecartest.CallerKey, 400, "bad_request", "longer"},
		"control character":       {link + "a%00b", sidecartest.CallerKey, 400, "bad_request", "control"},
		"unknown app":             {"/hubspot/auth/other?userForeignIdentifier=acme", sidecartest.CallerKey, 404, "bad_request", "no app"},
		"app without links":       {"/hubspot/auth/nolinks?userForeignIdentifier=acme", sidecartest.CallerKey, 404, "bad_request", "redirect_uri"},
		"another's app":           {"/hubspot/auth/hbprod?userForeignIdentifier=globex-1", installtest.LimitedKey, 403, "caller_forbidden", "app"},
		"another's unknown app":   {"/hubspot/auth/other?userForeignIdentifier=globex-1", installtest.LimitedKey, 403, "caller_forbidden", "app"},
		"another's user":          {link + "acme", installtest.LimitedKey, 403, "caller_forbidden", "user"},
		"foreign return_to":       {link + "acme&return_to=https://evil.example/", sidecartest.CallerKey, 400, "bad_request", "allow-list"},
		"relative return_to":      {link + "acme&return_to=/x", sidecartest.CallerKey, 400, "bad_request", "whole address"},
		"portal change misspelt":  {link + "acme&allow_portal_change=yes", sidecartest.CallerKey, 400, "bad_request", "true or false"},
		"too much for a link":     {link + strings.Repeat("x", 1000) + "&return_to=https://app.example.com/" + strings.Repeat("y", 2000), sidecartest.CallerKey, 400, "bad_request", "too long"},
		"list: no key":            {"/hubspot/connections/hbdev", "", 401, "caller_unauthenticated", "No caller key"},
		"list: another's app":     {"/hubspot/connections/hbprod", installtest.LimitedKey, 403, "caller_forbidden", "app"},
		"list: limit 0":           {"/hubspot/connections/hbdev?limit=0", sidecartest.CallerKey, 400, "bad_request", "from 1 to 100"},
		"list: limit 101":         {"/hubspot/connections/hbdev?limit=101", sidecartest.CallerKey, 400, "bad_request", "from 1 to 100"},
		"list: limit not number":  {"/hubspot/connections/hbdev?limit=ten", sidecartest.CallerKey, 400, "bad_request", "limit"},
		"list: limit empty":       {"/hubspot/connections/hbdev?limit=", sidecartest.CallerKey, 400, "bad_request", "limit"},
		"list: odd cursor":        {"/hubspot/connections/hbdev?after=%0a", sidecartest.CallerKey, 400, "bad_request", "after"},
		"list: foreign cursor":    {"/hubspot/connections/hbdev?after=nonsense", sidecartest.CallerKey, 400, "bad_request", "after"},
		"list: cursor too long":   {"/hubspot/connections/hbdev?after=" + strings.Repeat("x", 2000), sidecartest.CallerKey, 400, "bad_request", "after"},
		"one: no key":             {"/hubspot/connections/hbdev/acme", "", 401, "caller_unauthenticated", "No caller key"},
		"one: another's user":     {"/hubspot/connections/hbdev/acme", installtest.LimitedKey, 403, "caller_forbidden", "user"},
		"one: no user":            {"/hubspot/connections/hbdev/", sidecartest.CallerKey, 400, "user_required", "percent-encoded"},
		"one: user not encoded":   {"/hubspot/connections/hbdev/a/b", sidecartest.CallerKey, 400, "user_required", "percent-encoded"},
		"one: not connected":      {"/hubspot/connections/hbdev/acme", sidecartest.CallerKey, 404, "not_connected", "not connected"},
		"one: unknown app":        {"/hubspot/connections/other/acme", sidecartest.CallerKey, 404, "bad_request", "no app"},
		"one: user not connected": {"/hubspot/connections/hbdev/globex-1", installtest.LimitedKey, 404, "not_connected", "not connected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var header []string
			if tt.key != "" {
				header = []string{"Authorization", "Bearer " + tt.key}
			}
			got := k.Do(http.MethodGet, tt.target, nil, header...)
			var p sidecartest.OwnError
			got.JSON(t, &p)
			if got.StatusCode != tt.status || p.SubCategory != tt.sub || !strings.Contains(p.Message, tt.text) || p.Category != "SIDECAR" {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
			if got.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.Header.Get("Proxy-Status"), "caddy-hubspot; error=") {
				t.Errorf("Cache-Control %q, Proxy-Status %q", got.Header.Get("Cache-Control"), got.Header.Get("Proxy-Status"))
			}
			if !strings.Contains(k.Logs.String(), p.CorrelationID) {
				t.Error("the correlation id is not in the log")
			}
		})
	}
}

func TestAuthWithoutCallers(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{NoCallers: true}})
	for _, target := range []string{
		"/hubspot/auth/hbdev?userForeignIdentifier=acme", "/hubspot/connections/hbdev", "/hubspot/connections/hbdev/acme",
	} {
		got := k.Get(target, "")
		if got.StatusCode != http.StatusForbidden || !strings.Contains(got.Text, "No caller is configured") {
			t.Errorf("%s: %s: %s", target, got.Status, got.Text)
		}
	}
	link, cookies := k.Begin("/hubspot/hbdev/connect", "acme")
	if got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil, "Cookie", cookies); got.StatusCode != http.StatusOK {
		t.Errorf("a browser's install: %s: %s", got.Status, got.Text)
	}
}

func TestAuthNotConnectedOffersLink(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	var p sidecartest.OwnError
	k.Get("/hubspot/connections/hbdev/acme", "").JSON(t, &p)
	link := p.Links["connect"]
	if got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil); got.StatusCode != http.StatusOK {
		t.Errorf("by the link of the error: %s: %s", got.Status, got.Text)
	}
	if got := k.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", got.Status, got.Text)
	}
}

func TestAuthList(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	want := []string{"acme", "globex-1", "globex-2", "globex-3", "umbrella"}
	for _, user := range want {
		k.Connect(user, sandbox.DemoHubID)
	}
	walk := func(key, query string) (users []string, pages int) {
		after := ""
		for {
			got := k.Do(http.MethodGet, "/hubspot/connections/HBDEV?"+query+after, nil, "Authorization", "Bearer "+key)
			if got.StatusCode != http.StatusOK {
				t.Fatalf("page %d: %s: %s", pages, got.Status, got.Text)
			}
			var page callerapi.Page
			got.JSON(t, &page)
			pages++
			for _, c := range page.Results {
				users = append(users, c.User)
			}
			if page.Paging == nil {
				slices.Sort(users)
				return users, pages
			}
			after = "&after=" + url.QueryEscape(page.Paging.Next.After)
		}
	}
	if users, pages := walk(sidecartest.CallerKey, ""); !slices.Equal(users, want) || pages != 1 {
		t.Errorf("all at once: %v in %d pages", users, pages)
	}
	if users, pages := walk(sidecartest.CallerKey, "limit=2"); !slices.Equal(users, want) || pages < 3 {
		t.Errorf("two at a time: %v in %d pages", users, pages)
	}
	if users, _ := walk(installtest.LimitedKey, "limit=1"); !slices.Equal(users, want[1:4]) {
		t.Errorf("the limited caller sees %v", users)
	}
	empty := k.Get("/hubspot/connections/hbprod", "")
	if empty.Text != `{"results":[]}`+"\n" {
		t.Errorf("an empty list is %q", empty.Text)
	}
	if list := k.Get("/hubspot/connections/hbdev", "").Text; strings.Contains(strings.ToLower(list), "token") {
		t.Errorf("a list has tokens: %s", list)
	}
}

func TestAuthDelete(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	for _, user := range []string{"acme", "a/b%2F ü", ".."} {
		path := "/hubspot/connections/hbdev/" + strings.ReplaceAll(url.PathEscape(user), ".", "%2E")
		k.Connect(user, sandbox.DemoHubID)
		if got := k.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+installtest.LimitedKey); got.StatusCode != http.StatusForbidden {
			t.Errorf("%q: by another caller: %s", user, got.Status)
		}
		var shown callerapi.View
		if k.Get(path, "").JSON(t, &shown); shown.User != user {
			t.Errorf("the connection of %q is that of %q", user, shown.User)
		}
		got := k.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+sidecartest.CallerKey)
		var receipt callerapi.Receipt
		if got.JSON(t, &receipt); got.StatusCode != http.StatusOK || receipt.User != user || receipt.HubID != sandbox.DemoHubID ||
			receipt.Revoked != connection.OutcomeDone || receipt.Uninstalled != connection.OutcomeNotAsked || !receipt.Destroyed || receipt.At.IsZero() {
			t.Errorf("%q: %s: %s", user, got.Status, got.Text)
		}
		if got := k.Get(path, ""); got.StatusCode != http.StatusNotFound {
			t.Errorf("%q: afterwards: %s", user, got.Status)
		}
		again := k.Do(http.MethodDelete, path, nil, "Authorization", "Bearer "+sidecartest.CallerKey)
		if again.StatusCode != http.StatusNotFound || !strings.Contains(again.Text, "not_connected") {
			t.Errorf("%q: again: %s: %s", user, again.Status, again.Text)
		}
	}
	var stats sandbox.Stats
	k.Do(http.MethodGet, k.SandboxURL+"/_sandbox/stats", nil).JSON(t, &stats)
	if n := fmt.Sprint(stats.Endpoints); !strings.Contains(n, "/revoke:map[200:3]") {
		t.Errorf("the grants were not revoked: %s", n)
	}
}

func TestAuthDeleteWithoutHubSpot(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.Connect("acme", sandbox.DemoHubID)
	k.App("hbdev").Client.HTTP = &http.Client{Transport: http.NewFileTransport(http.Dir(t.TempDir()))}
	got := k.Do(http.MethodDelete, "/hubspot/connections/hbdev/acme", nil, "Authorization", "Bearer "+sidecartest.CallerKey)
	var receipt callerapi.Receipt
	if got.JSON(t, &receipt); got.StatusCode != http.StatusAccepted || receipt.Revoked != connection.OutcomePending || !receipt.Destroyed {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	var shown callerapi.View
	if got := k.Get("/hubspot/connections/hbdev/acme", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the disconnect is not shown: %s", got.Status)
	} else if got.JSON(t, &shown); shown.Status != connection.StatusDisconnecting || shown.Receipt == nil || *shown.Receipt != receipt {
		t.Errorf("shown as %s; want disconnecting with the receipt", got.Text)
	}
	var page callerapi.Page
	if got := k.As(sidecartest.CallerKey, http.MethodGet, "/hubspot/connections/hbdev?status=disconnecting"); got.StatusCode != http.StatusOK {
		t.Errorf("listing those: %s: %s", got.Status, got.Text)
	} else if got.JSON(t, &page); len(page.Results) != 1 || page.Results[0].User != "acme" {
		t.Errorf("listed as disconnecting: %s; want acme", got.Text)
	}
	if _, err := k.App("hbdev").Manager.Token(t.Context(), "acme"); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("the user has a token: %v", err)
	}
}

// TestUninstall: the app is removed from the account by the last connection on
// it, and what is not true or false is no answer to the question.
func TestUninstall(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.Connect("acme", sandbox.DemoHubID)
	k.Connect("globex", sandbox.DemoHubID)
	for user, want := range map[string]string{"acme?uninstall=1": "must be true or false", "nobody?uninstall=true": "not_connected"} {
		if got := k.As(sidecartest.CallerKey, http.MethodDelete, "/hubspot/connections/hbdev/"+user); got.StatusCode/100 != 4 || !strings.Contains(got.Text, want) {
			t.Errorf("%s: %s: %s", user, got.Status, got.Text)
		}
	}
	for _, tc := range []struct {
		user                 string
		revoked, uninstalled connection.Outcome
	}{{"acme", connection.OutcomeShared, connection.OutcomeShared}, {"globex", connection.OutcomeDone, connection.OutcomeDone}} {
		var receipt callerapi.Receipt
		got := k.As(sidecartest.CallerKey, http.MethodDelete, "/hubspot/connections/hbdev/"+tc.user+"?uninstall=true")
		if got.JSON(t, &receipt); got.StatusCode != http.StatusOK || receipt.Revoked != tc.revoked || receipt.Uninstalled != tc.uninstalled {
			t.Errorf("%s: %s: %s", tc.user, got.Status, got.Text)
		}
	}
	var stats sandbox.Stats
	k.Do(http.MethodGet, k.SandboxURL+"/_sandbox/stats", nil).JSON(t, &stats)
	if n := stats.Endpoints["DELETE /appinstalls/{version}/external-install"]["204"]; n != 1 || stats.Grants[0].Status != "uninstalled" {
		t.Errorf("uninstalled %d times, and the grant is %s; want once", n, stats.Grants[0].Status)
	}
}

// tokenEndpoint answers everything with 400 and its text.
type tokenEndpoint string

func (e tokenEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusBadRequest, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(string(e))), Request: r}, nil
}

// What HubSpot refuses of one connection is said in its own words, and shows
// as the connection's alarm.
func TestARefusedConnection(t *testing.T) {
	t.Parallel()
	const path = "/hubspot/connections/hbdev/acme"
	k := installtest.New(t, installtest.Config{})
	k.Connect("acme", sandbox.DemoHubID)
	app := k.App("hbdev")
	app.Client.HTTP = &http.Client{Transport: tokenEndpoint(`{"status":"BAD_MOOD","message":"not today"}`)}
	var shown callerapi.View
	if k.Get(path, "").JSON(t, &shown); shown.Alarm != "" || !shown.AlarmSince.IsZero() {
		t.Errorf("an alarm without a refresh: %+v", shown)
	}
	if _, err := app.Manager.ForceRefresh(t.Context(), "acme"); err == nil {
		t.Fatal("the refresh worked")
	}
	got := k.Get(path, "")
	if got.JSON(t, &shown); shown.Alarm != "BAD_MOOD" || shown.AlarmSince.IsZero() {
		t.Errorf("no alarm: %s", got.Text)
	}
	if n := troubled(t, k); n != 1 {
		t.Errorf("%v connections in trouble are counted, want 1", n)
	}
	if list := k.Get("/hubspot/connections/hbdev", ""); strings.Contains(list.Text, "alarm") {
		t.Errorf("a list has alarms: %s", list.Text)
	}
}

// troubled is what the metrics say of connections in trouble of the app hbdev.
func troubled(t *testing.T, k *installtest.Kit) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := k.Metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	defer k.Metrics.CountConnections("hbdev", k.App("hbdev").Manager)()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "caddy_hubspot_connections_troubled" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}
