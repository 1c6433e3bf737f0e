package appconfig_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// environment expands {env.NAME} wherever it stands in a value.
func environment(values map[string]string) func(value string) (string, error) {
	return func(value string) (string, error) {
		for {
			before, rest, ok := strings.Cut(value, "{env.")
			if !ok {
				return value, nil
			}
			name, after, _ := strings.Cut(rest, "}")
			expanded, ok := values[name]
			if !ok {
				return "", fmt.Errorf("unrecognized placeholder {env.%s}", name)
			}
			value = before + expanded + after
		}
	}
}

func TestExpand(t *testing.T) {
	app := valid(func(a *appconfig.App) {
		a.ClientSecretNext = "{env.NEXT}"
		a.Scopes = []string{"oauth", "{env.SCOPES}"}
		a.RedirectURI = "https://{env.HOST}/hubspot/cb"
	})
	got, err := app.Expand("HbDev", environment(map[string]string{
		"HUBSPOT_CLIENT_ID": "client-1\n", "HUBSPOT_CLIENT_SECRET": "secret-1\n", "NEXT": "secret-2",
		"SCOPES": " crm.objects.contacts.read  files ", "HOST": "app.example.com",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.ClientSecret.Reveal() != "secret-1" || got.ClientSecretNext.Reveal() != "secret-2" {
		t.Errorf("secrets %q and %q", got.ClientSecret.Reveal(), got.ClientSecretNext.Reveal())
	}
	want := appconfig.Resolved{
		Name: "HbDev", ClientID: "client-1", ClientSecret: got.ClientSecret, ClientSecretNext: got.ClientSecretNext,
		AppID: 1234567,
		Scopes: appconfig.Scopes{
			Required:    []string{"oauth", "crm.objects.contacts.read", "files"},
			Conditional: []string{"tickets"},
			Optional:    []string{"crm.objects.deals.read"},
		},
		RedirectURI: "https://app.example.com/hubspot/cb",
		Quota:       app.Quota, SearchQuota: appconfig.DefaultSearchQuota,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !got.HasInstallLinks() {
		t.Error("HasInstallLinks is false")
	}
	if text := fmt.Sprintf("%+v %#v", got, got); strings.Contains(text, "secret-1") {
		t.Errorf("printing shows the secret: %s", text)
	}
}

func TestExpandWithCredentialsOfVault(t *testing.T) {
	app := appconfig.App{Credentials: "vault {env.MOUNT}/hubspot-apps/hbdev"}
	got, err := app.Expand("hbdev", environment(map[string]string{"MOUNT": "secret"}))
	if err != nil {
		t.Fatal(err)
	}
	if got.CredentialsPath != "secret/hubspot-apps/hbdev" || got.HasInstallLinks() || !got.ClientSecret.IsZero() {
		t.Errorf("got %+v", got)
	}
	if got.Quota != appconfig.DefaultQuota {
		t.Errorf("Quota %v, want the default", got.Quota)
	}
}

func TestExpandDoesNotCallForLiterals(t *testing.T) {
	app := valid(func(a *appconfig.App) { a.ClientID = "client-1" })
	var called []string
	_, err := app.Expand("hbdev", func(value string) (string, error) {
		called = append(called, value)
		return "x", nil
	})
	if want := []string{"{env.HUBSPOT_CLIENT_SECRET}"}; err != nil || !reflect.DeepEqual(called, want) {
		t.Errorf("called for %q (%v), want %q", called, err, want)
	}
}

func TestExpandRefuses(t *testing.T) {
	right := map[string]string{"HUBSPOT_CLIENT_ID": "client-1", "HUBSPOT_CLIENT_SECRET": "planted-secret"}
	for _, tc := range []struct {
		name          string
		change        func(a *appconfig.App)
		env           map[string]string
		setting, want string
	}{
		{"wrong as written", func(a *appconfig.App) { a.AppID = -1 }, nil, "app_id", "must be a positive number"},
		{"unknown placeholder", func(a *appconfig.App) { a.ClientSecret = "{env.UNSET}" }, nil, "client_secret", "expanding its placeholder: unrecognized placeholder {env.UNSET}"},
		{"empty secret", nil, map[string]string{"HUBSPOT_CLIENT_SECRET": " \n"}, "client_secret", "is empty once"},
		{"secret of two lines", nil, map[string]string{"HUBSPOT_CLIENT_SECRET": "planted\nplanted"}, "client_secret", "holds a space, a control"},
		{"second secret not ASCII", func(a *appconfig.App) { a.ClientSecretNext = "{env.N}" }, map[string]string{"N": "plantedé"}, "client_secret_next", "holds a space, a control"},
		{"client id with space", nil, map[string]string{"HUBSPOT_CLIENT_ID": "planted planted"}, "client_id", "holds a space"},
		{"redirect", func(a *appconfig.App) { a.RedirectURI = "{env.R}" }, map[string]string{"R": "http://planted.example.com/cb"}, "redirect_uri", "plain http for localhost only"},
		{"empty redirect", func(a *appconfig.App) { a.RedirectURI = "{env.R}" }, map[string]string{"R": ""}, "redirect_uri", "is empty once"},
		{"empty scope", func(a *appconfig.App) { a.OptionalScopes = []string{"{env.S}"} }, map[string]string{"S": " "}, "optional_scopes", "is empty once"},
		{"scope twice", func(a *appconfig.App) { a.OptionalScopes = []string{"{env.S}"} }, map[string]string{"S": "oauth"}, "optional_scopes", `"oauth" is in scopes already`},
		{"odd scope", func(a *appconfig.App) { a.Scopes = []string{"{env.S}"} }, map[string]string{"S": `"planted"`}, "scopes", "a scope that a placeholder stands for holds a character"},
		{"scope with placeholder", func(a *appconfig.App) { a.Scopes = []string{"{env.S}"} }, map[string]string{"S": "{planted}"}, "scopes", "holds a brace"},
		{"credentials", func(a *appconfig.App) { a.ClientID, a.ClientSecret, a.Credentials = "", "", "vault {env.C}" }, map[string]string{"C": "planted"}, "credentials", "the path needs the mount and the secret"},
		{"no file of scopes", func(a *appconfig.App) {
			a.Scopes, a.ConditionalScopes, a.OptionalScopes, a.ScopesFrom = nil, nil, nil, "no-such-file.json"
		}, nil, "scopes_from", "opening file: open no-such-file.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := map[string]string{}
			for _, values := range []map[string]string{right, tc.env} {
				maps.Copy(env, values)
			}
			got, err := valid(tc.change).Expand("hbdev", environment(env))
			wrong, ok := errors.AsType[*appconfig.SettingError](err)
			if !ok || wrong.Setting != tc.setting || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %s: …%s…", err, tc.setting, tc.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error holds an expanded value: %v", err)
			}
			if !reflect.DeepEqual(got, appconfig.Resolved{}) {
				t.Errorf("a result comes with the error: %+v", got)
			}
		})
	}
}

func TestExpandReadsScopesFromTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "src/app/app-hsmeta.json", hsmeta)
	app := valid(func(a *appconfig.App) {
		a.Scopes, a.ConditionalScopes, a.OptionalScopes, a.ScopesFrom = nil, nil, nil, "src/app/app-hsmeta.json"
	})
	got, err := app.Expand("hbdev", environment(map[string]string{"HUBSPOT_CLIENT_ID": "x", "HUBSPOT_CLIENT_SECRET": "y"}))
	if err != nil || len(got.Scopes.Required) != 3 {
		t.Errorf("got %+v, %v", got.Scopes, err)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFallbacks(t *testing.T) {
	account, people := appconfig.Resolved{Name: "HbDev"}, appconfig.Resolved{Name: "people", UserLevel: true, FallbackApp: "hbdev"}
	other := appconfig.Resolved{Name: "staff", UserLevel: true}
	if err := appconfig.CheckFallbacks([]appconfig.Resolved{account, people, other}); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*appconfig.Resolved){
		`app "people": fallback_app: is for user-level apps only`:          func(a *appconfig.Resolved) { a.UserLevel = false },
		`app "people": fallback_app: there is no app "none"`:               func(a *appconfig.Resolved) { a.FallbackApp = "none" },
		`app "people": fallback_app: the app "staff" is a user-level one`:  func(a *appconfig.Resolved) { a.FallbackApp = "staff" },
		`app "people": fallback_app: the app "people" is a user-level one`: func(a *appconfig.Resolved) { a.FallbackApp = "people" },
	} {
		changed := people
		change(&changed)
		err := appconfig.CheckFallbacks([]appconfig.Resolved{account, changed, other})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
