package appconfig_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// setting returns the setting of that name.
func setting(t *testing.T, name string) appconfig.Setting {
	t.Helper()
	for _, s := range appconfig.Settings() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no setting %s", name)
	return appconfig.Setting{}
}

// TestSet reads a whole app from the lines of a Caddyfile.
func TestSet(t *testing.T) {
	t.Parallel()
	var got appconfig.App
	for _, line := range []string{
		"client_id x", "client_secret {env.X}", "client_secret_next {file./run/secrets/next}",
		"credentials vault secret/hubspot-apps/hbdev", "app_id 1234567", "scopes oauth tickets",
		"conditional_scopes a", "optional_scopes b {env.OPTIONAL}", "scopes_from app-hsmeta.json",
		"redirect_uri https://app.example.com/cb", "quota 190 10s", "search_quota 5 1s", "refresh_quota 10 1m",
	} {
		words := strings.Fields(line)
		if err := setting(t, words[0]).Set(&got, words[1:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	want := appconfig.App{
		ClientID: "x", ClientSecret: "{env.X}", ClientSecretNext: "{file./run/secrets/next}",
		Credentials: "vault secret/hubspot-apps/hbdev", AppID: 1234567, Scopes: []string{"oauth", "tickets"},
		ConditionalScopes: []string{"a"}, OptionalScopes: []string{"b", "{env.OPTIONAL}"}, ScopesFrom: "app-hsmeta.json",
		RedirectURI: "https://app.example.com/cb",
		Quota:       appconfig.Rate{Count: 190, Per: 10 * time.Second}, SearchQuota: appconfig.Rate{Count: 5, Per: time.Second},
		RefreshQuota: appconfig.Rate{Count: 10, Per: time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	const literal = "client_secret: write it as a placeholder such as {env.X} or {file./run/secrets/x}, so that the secret itself does not stand in the config"
	for _, tc := range []struct {
		setting string
		args    []string
		want    string
	}{
		{"client_id", nil, "client_id: give exactly one value"},
		{"client_id", []string{""}, "client_id: give exactly one value"},
		{"client_id", []string{"planted", "y"}, "client_id: give exactly one value"},
		{"client_secret", nil, "client_secret: give exactly one value"},
		{"client_secret", []string{"planted"}, literal},
		{"client_secret", []string{"planted{env.X}"}, literal},
		{"client_secret", []string{"{http.request.host}"}, literal},
		{"client_secret", []string{"{env.X}", "planted"}, "client_secret: give exactly one value"},
		{"credentials", []string{"vault"}, "credentials: give vault and a path, as in: credentials vault secret/hubspot-apps/hbdev"},
		{"credentials", []string{"vault", "a", "b"}, "credentials: give vault and a path, as in: credentials vault secret/hubspot-apps/hbdev"},
		{"app_id", nil, "app_id: give exactly one value"},
		{"app_id", []string{"seven"}, `app_id: "seven" is not a positive number; it is on the app's page in HubSpot`},
		{"app_id", []string{"0"}, `app_id: "0" is not a positive number; it is on the app's page in HubSpot`},
		{"app_id", []string{"-1"}, `app_id: "-1" is not a positive number; it is on the app's page in HubSpot`},
		{"scopes", nil, "scopes: give at least one value"},
		{"quota", []string{"110"}, "quota: give a number of requests and a span of time, as in: quota 110 10s"},
		{"search_quota", []string{"1", "2s", "3"}, "search_quota: give a number of requests and a span of time, as in: search_quota 110 10s"},
		{"search_quota", []string{"5", "soon"}, `search_quota: "soon" is not a span of time; write a rate as 110 10s`},
		{"refresh_quota", []string{"0", "1s"}, "refresh_quota: a rate of 0 would let nothing through"},
	} {
		before := valid(func(a *appconfig.App) { a.Credentials = "vault a/b" })
		got := before
		err := setting(t, tc.setting).Set(&got, tc.args)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s %q: got %v, want %s", tc.setting, tc.args, err, tc.want)
		}
		if !reflect.DeepEqual(got, before) {
			t.Errorf("%s %q: the app has changed: %+v", tc.setting, tc.args, got)
		}
	}
}

func TestSettingsAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	appconfig.Settings()[0].Name = "changed"
	if got := appconfig.Settings()[0].Name; got != "client_id" {
		t.Errorf("the first setting is %s", got)
	}
	args := []string{"oauth"}
	var app appconfig.App
	if err := setting(t, "scopes").Set(&app, args); err != nil {
		t.Fatal(err)
	}
	args[0] = "changed"
	if app.Scopes[0] != "oauth" {
		t.Error("the app shares memory with the arguments")
	}
}
