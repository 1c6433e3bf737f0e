package appconfig_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// valid returns settings that are right; change makes them wrong.
func valid(change func(a *appconfig.App)) appconfig.App {
	a := appconfig.App{
		ClientID:          "{env.HUBSPOT_CLIENT_ID}",
		ClientSecret:      "{env.HUBSPOT_CLIENT_SECRET}",
		AppID:             1234567,
		Scopes:            []string{"oauth", "crm.objects.contacts.read"},
		ConditionalScopes: []string{"tickets"},
		OptionalScopes:    []string{"crm.objects.deals.read"},
		RedirectURI:       "https://app.example.com/hubspot/hbdev/callback",
		Quota:             appconfig.Rate{Count: 190, Per: 10 * time.Second},
	}
	if change != nil {
		change(&a)
	}
	return a
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(a *appconfig.App)
		// setting and want are of the error; without them there is none.
		setting, want string
	}{
		{"all right", nil, "", ""},
		{"literal client id", func(a *appconfig.App) { a.ClientID = "6b1a5f7e-0000" }, "", ""},
		{"secret in a file", func(a *appconfig.App) { a.ClientSecret = "{file./run/secrets/hubspot}" }, "", ""},
		{"second secret", func(a *appconfig.App) { a.ClientSecretNext = "{env.NEXT}" }, "", ""},
		{"credentials", func(a *appconfig.App) {
			a.ClientID, a.ClientSecret, a.Credentials = "", "", "vault secret/hubspot-apps/hbdev"
		}, "", ""},
		{"proxy only", func(a *appconfig.App) {
			a.Scopes, a.ConditionalScopes, a.OptionalScopes, a.RedirectURI = nil, nil, nil, ""
		}, "", ""},
		{"unknown scope", func(a *appconfig.App) { a.Scopes = []string{"never.heard-of_it:1/2"} }, "", ""},
		{"placeholders", func(a *appconfig.App) {
			a.Scopes, a.RedirectURI = []string{"{env.SCOPES}"}, "https://{env.HOST}/cb"
		}, "", ""},
		{"scopes_from", func(a *appconfig.App) {
			a.Scopes, a.ConditionalScopes, a.OptionalScopes, a.ScopesFrom = nil, nil, nil, "no-such-file.json"
		}, "", ""},
		{"quotas", func(a *appconfig.App) {
			a.SearchQuota, a.RefreshQuota = appconfig.Rate{Count: 1, Per: time.Millisecond}, appconfig.Rate{Count: 1_000_000, Per: 24 * time.Hour}
		}, "", ""},

		{"nothing", func(a *appconfig.App) { *a = appconfig.App{} }, "client_id", "is missing"},
		{"no client id", func(a *appconfig.App) { a.ClientID = "" }, "client_id", "is missing"},
		{"client id with space", func(a *appconfig.App) { a.ClientID = "a b" }, "client_id", "holds a space"},
		{"no secret", func(a *appconfig.App) { a.ClientSecret = "" }, "client_secret", "is missing"},
		{"literal secret", func(a *appconfig.App) { a.ClientSecret = "planted" }, "client_secret", "write it as a placeholder such as {env.HUBSPOT_CLIENT_SECRET}"},
		{"half a placeholder", func(a *appconfig.App) { a.ClientSecret = "planted{env.X}" }, "client_secret", "a literal would stand in the config and in the admin API"},
		{"other placeholder", func(a *appconfig.App) { a.ClientSecret = "{http.request.header.X}" }, "client_secret", "write it as a placeholder"},
		{"literal second secret", func(a *appconfig.App) { a.ClientSecretNext = "planted" }, "client_secret_next", "write it as a placeholder such as {env.HUBSPOT_CLIENT_SECRET_NEXT}"},
		{"same second secret", func(a *appconfig.App) { a.ClientSecretNext = a.ClientSecret }, "client_secret_next", "is the same placeholder as client_secret"},
		{"credentials and client id", func(a *appconfig.App) { a.Credentials = "vault secret/x" }, "credentials", "client_id is given as well"},
		{"credentials and secret", func(a *appconfig.App) { a.ClientID, a.Credentials = "", "vault secret/x" }, "credentials", "client_secret is given as well"},
		{"negative app id", func(a *appconfig.App) { a.AppID = -1 }, "app_id", "must be a positive number"},
		{"scope twice", func(a *appconfig.App) { a.Scopes = []string{"oauth", "oauth"} }, "scopes", `"oauth" is given twice`},
		{"scope required and optional", func(a *appconfig.App) { a.OptionalScopes = []string{"oauth"} }, "optional_scopes", `"oauth" is in scopes already`},
		{"scope required and conditional", func(a *appconfig.App) { a.ConditionalScopes = []string{"oauth"} }, "conditional_scopes", `"oauth" is in scopes already`},
		{"scope conditional and optional", func(a *appconfig.App) { a.OptionalScopes = []string{"tickets"} }, "optional_scopes", `"tickets" is in conditional_scopes already`},
		{"two scopes in one", func(a *appconfig.App) { a.Scopes = []string{"oauth tickets"} }, "scopes", "RFC 6749 does not permit"},
		{"scopes with comma", func(a *appconfig.App) { a.Scopes = []string{"oauth,tickets"} }, "scopes", "holds a comma"},
		{"scope with quote", func(a *appconfig.App) { a.Scopes = []string{`"oauth"`} }, "scopes", "RFC 6749 does not permit"},
		{"scope with backslash", func(a *appconfig.App) { a.Scopes = []string{`oauth\`} }, "scopes", "RFC 6749 does not permit"},
		{"scope not ASCII", func(a *appconfig.App) { a.Scopes = []string{"öauth"} }, "scopes", "RFC 6749 does not permit"},
		{"scope with a brace", func(a *appconfig.App) { a.Scopes = []string{"{oauth"} }, "scopes", "holds a brace"},
		{"empty scope", func(a *appconfig.App) { a.OptionalScopes = []string{""} }, "optional_scopes", "must not be empty"},
		{"file and list of scopes", func(a *appconfig.App) { a.ScopesFrom = "x.json" }, "scopes_from", "use the file or the lists"},
		{"no required scope", func(a *appconfig.App) { a.Scopes = nil }, "scopes", "is missing"},
		{"redirect without scopes", func(a *appconfig.App) { a.Scopes, a.ConditionalScopes, a.OptionalScopes = nil, nil, nil }, "scopes", "is missing"},
		{"scopes without redirect", func(a *appconfig.App) { a.RedirectURI = "" }, "redirect_uri", "is missing"},
		{"NUL in a file name", func(a *appconfig.App) {
			a.Scopes, a.ConditionalScopes, a.OptionalScopes, a.ScopesFrom = nil, nil, nil, "a\x00b"
		}, "scopes_from", "is not the path of a file"},
		{"no requests", func(a *appconfig.App) { a.Quota = appconfig.Rate{Per: time.Second} }, "quota", "a rate of 0"},
		{"negative requests", func(a *appconfig.App) { a.SearchQuota = appconfig.Rate{Count: -1, Per: time.Second} }, "search_quota", "between 1 and 1000000"},
		{"no span", func(a *appconfig.App) { a.RefreshQuota = appconfig.Rate{Count: 1} }, "refresh_quota", "between 1ms and 24h"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := valid(tc.change).Validate("hbdev")
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wrong, ok := errors.AsType[*appconfig.SettingError](err)
			if !ok {
				t.Fatalf("got %v, want a SettingError", err)
			}
			if wrong.App != "hbdev" || wrong.Setting != tc.setting || !strings.Contains(wrong.Err.Error(), tc.want) {
				t.Errorf("got %v, want %s: …%s…", err, tc.setting, tc.want)
			}
			if prefix := `app "hbdev": ` + tc.setting + ": "; !strings.HasPrefix(err.Error(), prefix) {
				t.Errorf("got %v, want it to start with %s", err, prefix)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestRedirectURI(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.example.com/hubspot/cb":              "",
		"https://app.example.com:8443/cb/":                "",
		"https://APP.example.com/cb?tenant=1":             "",
		"https://xn--bcher-kva.example/cb":                "",
		"https://localhost/cb":                            "",
		"http://localhost:8080/hubspot/cb":                "",
		"https://a.example.com/a%20b":                     "",
		"https://1password.example/cb":                    "",
		"/hubspot/cb":                                     "must be an absolute https URL",
		"app.example.com/cb":                              "must be an absolute https URL",
		"ftp://app.example.com/cb":                        "must be an absolute https URL",
		"https:app.example.com/cb":                        "must be an absolute https URL",
		"https://":                                        "must have a host",
		"https:///cb":                                     "must have a host",
		"http://app.example.com/cb":                       "plain http for localhost only",
		"http://127.0.0.1:8080/cb":                        "the host is an IP address",
		"https://192.168.1.1/cb":                          "the host is an IP address",
		"https://[2001:db8::1]/cb":                        "the host is an IP address",
		"https://[::1]:8080/cb":                           "the host is an IP address",
		"https://127.1/cb":                                "the host is an IP address",
		"https://2130706433/cb":                           "the host is an IP address",
		"https://0x7f000001/cb":                           "the host is an IP address",
		"https://app.example.com":                         "must have a path",
		"https://app.example.com/":                        "must have a path",
		"https://app.example.com/cb#x":                    "must not have a fragment",
		"https://app.example.com/cb#":                     "must not have a fragment",
		"https://user:planted@example.com/cb":             "must not have a user name",
		"https://planted@example.com/cb":                  "must not have a user name",
		"https://app.example.com/a/../cb":                 "dot segments",
		"https://app.example.com//":                       "empty or dot segments",
		"https://app.example.com/a//cb":                   "empty or dot segments",
		"https://app.example.com/a%2f..%2fcb":             "dot segments",
		"https://app.example.com/a;b":                     "semicolons",
		"https://app.example.com:0/cb":                    "the port must be",
		"https://app.example.com:65536/cb":                "the port must be",
		"https://app.example.com:/cb":                     "the port must be",
		"https://app.example.com:planted/cb":              "is not a URL",
		"https://app example.com/cb":                      "is not a URL",
		"https://app.example.com/c b":                     "must be percent-encoded",
		"https://app.example.com/cb\n":                    "is not a URL",
		"https://bücher.example/cb":                       "must be percent-encoded",
		"https://app_1.example.com/cb":                    "not a host name",
		"https://app.example.com./cb":                     "not a host name",
		"https://-app.example.com/cb":                     "not a host name",
		"https://" + strings.Repeat("a.", 127) + "com/cb": "not a host name",
	} {
		err := valid(func(a *appconfig.App) { a.RedirectURI = uri }).Validate("hbdev")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", uri, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), "redirect_uri: ") || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want an error with %q", uri, err, want)
		case err != nil && strings.Contains(err.Error(), "planted"):
			t.Errorf("%s: the error holds the value: %v", uri, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	for value, ok := range map[string]bool{
		"vault secret/hubspot-apps/hbdev": true,
		"vault  team-a/kv_2/x.y":          true,
		"vault secret":                    false,
		"secret/hubspot-apps/hbdev":       false,
		"file /etc/credentials":           false,
		"vault":                           false,
		"vault a/b c/d":                   false,
		"vault /secret/x":                 false,
		"vault secret/x/":                 false,
		"vault secret//x":                 false,
		"vault secret/../x":               false,
		"vault secret/a%2fb":              false,
		"vault secret/a?b":                false,
	} {
		err := appconfig.App{Credentials: value}.Validate("hbdev")
		if (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestValidateName(t *testing.T) {
	for name, ok := range map[string]bool{
		"hbdev": true, "HB_dev-2": true, "_x": true, "7": true, strings.Repeat("a", 64): true,
		"": false, "-x": false, "a b": false, "a.b": false, "a/b": false, "é": false, "a\n": false, strings.Repeat("a", 65): false,
	} {
		if err := appconfig.ValidateName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	err := valid(nil).Validate("a b")
	if wrong, ok := errors.AsType[*appconfig.SettingError](err); !ok || wrong.Setting != "" || !strings.HasPrefix(err.Error(), `app "a b": an app's name is`) {
		t.Errorf("got %v", err)
	}
	if got := appconfig.CanonicalName("HbDev"); got != "hbdev" {
		t.Errorf("CanonicalName = %q", got)
	}
}

func TestRate(t *testing.T) {
	for _, tc := range []struct {
		text, canonical string
		want            appconfig.Rate
	}{
		{"110 10s", "110 10s", appconfig.Rate{Count: 110, Per: 10 * time.Second}},
		{" 5\t1s ", "5 1s", appconfig.Rate{Count: 5, Per: time.Second}},
		{"30 60s", "30 1m", appconfig.Rate{Count: 30, Per: time.Minute}},
		{"30 1h", "30 1h", appconfig.Rate{Count: 30, Per: time.Hour}},
		{"30 90m", "30 1h30m", appconfig.Rate{Count: 30, Per: 90 * time.Minute}},
		{"30 20m0s", "30 20m", appconfig.Rate{Count: 30, Per: 20 * time.Minute}},
		{"1 1500ms", "1 1.5s", appconfig.Rate{Count: 1, Per: 1500 * time.Millisecond}},
		{"1000000 24h", "1000000 24h", appconfig.Rate{Count: 1_000_000, Per: 24 * time.Hour}},
	} {
		var got appconfig.Rate
		if err := got.UnmarshalText([]byte(tc.text)); err != nil || got != tc.want || got.String() != tc.canonical {
			t.Errorf("%q: %v %v, want %v", tc.text, got, err, tc.canonical)
		}
	}
	for text, want := range map[string]string{
		"":            "such as 110 10s",
		"110":         "such as 110 10s",
		"110 per 10s": "such as 110 10s",
		"0 10s":       "a rate of 0",
		"-1 10s":      "between 1 and 1000000",
		"1000001 10s": "between 1 and 1000000",
		"many 10s":    `"many" is not a whole number`,
		"1.5 10s":     `"1.5" is not a whole number`,
		"110 10":      `"10" is not a span of time`,
		"110 0s":      "between 1ms and 24h",
		"110 -1s":     "between 1ms and 24h",
		"110 1us":     "between 1ms and 24h",
		"110 25h":     "between 1ms and 24h",
	} {
		got := appconfig.Rate{Count: 1, Per: 1}
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || got.Count != 1 {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
	if got := (appconfig.Rate{}).Or(appconfig.DefaultQuota); got.String() != "110 10s" {
		t.Errorf("Or = %v", got)
	}
}

// fillRest gives every setting that a does not have a value.
func fillRest(t *testing.T, a *appconfig.App) {
	t.Helper()
	for _, value := range reflect.ValueOf(a).Elem().Fields() {
		if !value.IsZero() {
			continue
		}
		switch field := value.Addr().Interface().(type) {
		case *string:
			*field = "x"
		case *int64:
			*field = 7
		case *bool:
			*field = true
		case *[]string:
			*field = []string{"x"}
		case *appconfig.Rate:
			*field = appconfig.DefaultQuota
		default:
			t.Fatalf("a setting that is a %T", field)
		}
	}
}

func TestJSONAndYAMLForms(t *testing.T) {
	app := valid(func(a *appconfig.App) {
		a.ClientSecretNext, a.ScopesFrom, a.Credentials = "{env.NEXT}", "app-hsmeta.json", "vault a/b"
		a.SearchQuota = appconfig.DefaultSearchQuota
		fillRest(t, a)
	})
	raw, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	for _, s := range appconfig.Settings() {
		if _, ok := keys[s.Name]; !ok {
			t.Errorf("%s is not in the JSON form: %s", s.Name, raw)
		}
		delete(keys, s.Name)
	}
	if len(keys) > 0 {
		t.Errorf("not in Settings: %v", keys)
	}
	if !strings.Contains(string(raw), `"quota":"190 10s"`) {
		t.Errorf("quota is not a text: %s", raw)
	}
	var back appconfig.App
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back, app) {
		t.Errorf("JSON: got %+v, %v, want %+v", back, err, app)
	}
	text, err := yaml.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	back = appconfig.App{}
	if err := yaml.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, app) {
		t.Errorf("YAML: got %+v, %v, want %+v", back, err, app)
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
		if empty, err := marshal(appconfig.App{}); err != nil || strings.TrimSpace(string(empty)) != "{}" {
			t.Errorf("%s: no settings are %s, %v", name, empty, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"quota":"0 1s"}`), &back); err == nil {
		t.Error("a quota of 0 is taken from JSON")
	}
}
