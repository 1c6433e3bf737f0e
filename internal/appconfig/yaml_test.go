package appconfig_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

const appsYAML = `# two apps
apps:
  hbdev:
    client_id: "{env.HUBSPOT_CLIENT_ID}"
    client_secret: "{env.HUBSPOT_CLIENT_SECRET}"
    client_secret_next: '{file./run/secrets/next}'
    app_id: 1234567
    scopes: [oauth, crm.objects.contacts.read]
    conditional_scopes:
      - tickets
    optional_scopes:
      - "{env.OPTIONAL}"
    redirect_uri: https://app.example.com/hubspot/hbdev/callback
    quota: 110 10s
    search_quota: "5 1s"
    refresh_quota: 10 1m
  Other_App:
    credentials: vault secret/hubspot-apps/other
    scopes_from: app-hsmeta.json
    redirect_uri: https://app.example.com/hubspot/other/callback
`

func TestParseYAML(t *testing.T) {
	got, err := appconfig.ParseYAML("apps.yaml", []byte(appsYAML))
	if err != nil {
		t.Fatal(err)
	}
	want := []appconfig.NamedApp{
		{Name: "hbdev", File: "apps.yaml", Line: 3, App: appconfig.App{
			ClientID: "{env.HUBSPOT_CLIENT_ID}", ClientSecret: "{env.HUBSPOT_CLIENT_SECRET}", ClientSecretNext: "{file./run/secrets/next}",
			AppID: 1234567, Scopes: []string{"oauth", "crm.objects.contacts.read"},
			ConditionalScopes: []string{"tickets"}, OptionalScopes: []string{"{env.OPTIONAL}"},
			RedirectURI: "https://app.example.com/hubspot/hbdev/callback",
			Quota:       appconfig.Rate{Count: 110, Per: 10 * time.Second}, SearchQuota: appconfig.Rate{Count: 5, Per: time.Second},
			RefreshQuota: appconfig.Rate{Count: 10, Per: time.Minute},
		}},
		{Name: "Other_App", File: "apps.yaml", Line: 17, App: appconfig.App{
			Credentials: "vault secret/hubspot-apps/other", ScopesFrom: "app-hsmeta.json",
			RedirectURI: "https://app.example.com/hubspot/other/callback",
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseYAMLRefuses(t *testing.T) {
	const start = "apps:\n  hbdev:\n    client_id: x\n    client_secret: '{env.X}'\n"
	for _, tc := range []struct{ name, content, want string }{
		{"empty", "", "apps.yaml: is empty; it must have apps:"},
		{"comments only", "# nothing\n", "apps.yaml: is empty"},
		{"syntax", "apps:\n  a: b: c\n", "apps.yaml:2: is not YAML: mapping values are not allowed"},
		{"tab", "apps:\n\thbdev: {}\n", "is not YAML"},
		{"control character", "apps: \x00", "apps.yaml: is not YAML: control characters"},
		{"not UTF-8", "apps: \xff", "is not YAML"},
		{"a list", "- hbdev\n", "apps.yaml:1: the file must be a mapping"},
		{"a text", "hbdev\n", "apps.yaml:1: the file must be a mapping"},
		{"null", "null\n", "apps.yaml:1: the file must be a mapping"},
		{"other key", "app:\n  hbdev: {}\n", `apps.yaml:1: unknown key "app"; the only one at the top is apps`},
		{"second key", start + "callers: {}\n", `apps.yaml:5: unknown key "callers"`},
		{"no apps", "apps: {}\n", "apps.yaml:1: apps must be a mapping with at least one key"},
		{"apps null", "apps:\n", "apps.yaml:1: apps must be a mapping"},
		{"apps a list", "apps:\n  - hbdev\n", "apps.yaml:2: apps must be a mapping"},
		{"apps twice", start + "apps: {}\n", `apps.yaml:5: duplicate key "apps"`},
		{"app null", "apps:\n  hbdev:\n", `apps.yaml:2: app "hbdev" must be a mapping`},
		{"app twice", start + "  hbdev: {}\n", `apps.yaml:5: duplicate key "hbdev"`},
		{"app twice in another case", start + "  HBDev: {}\n", `apps.yaml:5: app "HBDev": there is an app "hbdev" already`},
		{"bad app name", "apps:\n  hb dev:\n    client_id: x\n", `apps.yaml:2: app "hb dev": an app's name is`},
		{"number as name", "apps:\n  12: {}\n", "apps.yaml:2: a key of apps must be a text; put others in quotes"},
		{"list as name", "apps:\n  [a]: {}\n", "apps.yaml:2: a key of apps must be a text"},
		{"unknown key", start + "    scope: [oauth]\n", `apps.yaml:5: app "hbdev": unknown key "scope"; known are client_id, client_secret,`},
		{"unknown key with a block", start + "    scope:\n      - oauth\n", `apps.yaml:5: app "hbdev": unknown key "scope"`},
		{"key in another case", start + "    Quota: 1 1s\n", `apps.yaml:5: app "hbdev": unknown key "Quota"`},
		{"duplicate key", start + "    client_id: y\n", `apps.yaml:5: duplicate key "client_id"`},
		{"number as text", "apps:\n  hbdev:\n    client_id: 12\n", `apps.yaml:3: app "hbdev": client_id: must be a text; put numbers`},
		{"boolean as text", start + "    redirect_uri: true\n", `apps.yaml:5: app "hbdev": redirect_uri: must be a text`},
		{"list as text", start + "    redirect_uri: [x]\n", `apps.yaml:5: app "hbdev": redirect_uri: must be a text`},
		{"empty text", start + "    redirect_uri: ''\n", `apps.yaml:5: app "hbdev": redirect_uri: must not be empty`},
		{"null as text", start + "    redirect_uri:\n", `apps.yaml:5: app "hbdev": redirect_uri: must not be empty`},
		{"placeholder without quotes", "apps:\n  hbdev:\n    client_id: {env.ID}\n", `apps.yaml:3: app "hbdev": client_id: must be a text; a placeholder needs quotes in YAML: "{env.NAME}"`},
		{"text as number", start + "    app_id: '12'\n", `apps.yaml:5: app "hbdev": app_id: must be a whole number`},
		{"fraction", start + "    app_id: 1.5\n", `apps.yaml:5: app "hbdev": app_id: must be a whole number`},
		{"huge number", start + "    app_id: 99999999999999999999\n", `apps.yaml:5: app "hbdev": app_id: must be a whole number`},
		{"negative number", start + "    app_id: -1\n", `apps.yaml:5: app "hbdev": app_id: must be a positive number`},
		{"text as flag", "apps:\n  hbdev:\n    static: 'true'\n", `apps.yaml:3: app "hbdev": static: must be true or false without quotes`},
		{"flag beside a client", start + "    static: true\n", `apps.yaml:5: app "hbdev": static: client_id is given as well`},
		{"text as list", start + "    scopes: oauth\n", `apps.yaml:5: app "hbdev": scopes: must be a list`},
		{"empty list", start + "    scopes: []\n", `apps.yaml:5: app "hbdev": scopes: must be a list with at least one item`},
		{"number in a list", start + "    scopes:\n      - oauth\n      - 12\n", `apps.yaml:7: app "hbdev": scopes: item 2: must be a text`},
		{"rate as a list", start + "    quota: [110, 10s]\n", `apps.yaml:5: app "hbdev": quota: must be a rate`},
		{"rate without span", start + "    quota: 110\n", `apps.yaml:5: app "hbdev": quota: a rate is a number of requests and a span`},
		{"rate of 0", start + "    quota: 0 10s\n", `apps.yaml:5: app "hbdev": quota: a rate of 0`},
		{"wrong setting", start + "    scopes: [oauth]\n    redirect_uri: http://example.com/cb\n", `apps.yaml:6: app "hbdev": redirect_uri: HubSpot accepts plain http`},
		{"missing setting", "apps:\n  # first\n  hbdev:\n    client_secret: '{env.X}'\n", `apps.yaml:3: app "hbdev": client_id: is missing`},
		{"literal secret", "apps:\n  hbdev:\n    client_id: x\n    client_secret: planted\n", `apps.yaml:4: app "hbdev": client_secret: write it as a placeholder`},
		{"shell variable", "apps:\n  hbdev:\n    client_id: x\n    client_secret: ${PLANTED}\n", `apps.yaml:4: app "hbdev": client_secret: write it as a placeholder`},
		{"anchor", "apps:\n  hbdev: &base\n    client_id: x\n", "apps.yaml:2: anchors and aliases (& and *) are not supported"},
		{"alias", "apps:\n  hbdev: *base\n", "apps.yaml"},
		{"merge key", start + "    <<: {app_id: 1}\n", "apps.yaml:5: a key of app \"hbdev\" must be a text"},
		{"tag", "apps:\n  hbdev:\n    client_id: !!binary eA==\n", "apps.yaml:3: tags (!) are not supported"},
		{"custom tag", "apps:\n  hbdev: !include other.yaml\n", "apps.yaml:2: tags (!) are not supported"},
		{"second document", start + "---\napps: {}\n", "a second document"},
		{"broken second document", start + "---\na: b: c\n", "is not YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := appconfig.ParseYAML("apps.yaml", []byte(tc.content))
			if err == nil || !strings.HasPrefix(err.Error(), "apps.yaml:") || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if strings.Contains(strings.ToLower(err.Error()), "planted") {
				t.Errorf("the error holds the secret: %v", err)
			}
			if got != nil {
				t.Errorf("apps come with the error: %+v", got)
			}
		})
	}
}

func TestParseYAMLKeepsTheSettingError(t *testing.T) {
	_, err := appconfig.ParseYAML("apps.yaml", []byte("apps: {hbdev: {client_secret: '{env.X}'}}"))
	wrong, ok := errors.AsType[*appconfig.SettingError](err)
	if !ok || wrong.App != "hbdev" || wrong.Setting != appconfig.SettingClientID {
		t.Errorf("got %v", err)
	}
}

func TestLoadYAML(t *testing.T) {
	dir := t.TempDir()
	right, large := filepath.Join(dir, "apps.yaml"), filepath.Join(dir, "large.yaml")
	writeFile(t, right, appsYAML)
	writeFile(t, large, appsYAML+strings.Repeat("#", 1<<20))
	if got, err := appconfig.LoadYAML(right); err != nil || len(got) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	for path, want := range map[string]string{large: "is larger than", filepath.Join(dir, "none"): "opening file"} {
		if _, err := appconfig.LoadYAML(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", path, err, want)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte(appsYAML))
	f.Add([]byte("apps: {hbdev: {client_id: x, client_secret: '{env.X}'}}"))
	f.Add([]byte("apps: &a {b: *a, <<: *a}\n--- !!map\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		apps, err := appconfig.ParseYAML("x.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x.yaml:") || apps != nil {
				t.Errorf("got %+v, %v", apps, err)
			}
			return
		}
		names := make(map[string]bool)
		for _, app := range apps {
			if err := app.App.Validate(app.Name); err != nil || names[appconfig.CanonicalName(app.Name)] || app.Line < 1 {
				t.Errorf("%+v: invalid or there twice (%v)", app, err)
			}
			names[appconfig.CanonicalName(app.Name)] = true
			checkRoundTrip(t, app.App)
		}
		if len(apps) == 0 {
			t.Error("no apps and no error")
		}
	})
}

// checkRoundTrip checks that the YAML form and the JSON form say the same.
func checkRoundTrip(t *testing.T, app appconfig.App) {
	t.Helper()
	raw, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	var back appconfig.App
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back, app) {
		t.Errorf("got %+v, %v from %s, want %+v", back, err, raw, app)
	}
}
