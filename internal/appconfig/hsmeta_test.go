package appconfig_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

const hsmeta = `{
  "uid": "my_app",
  "type": "app",
  "config": {
    "name": "My app",
    "distribution": "marketplace",
    "auth": {
      "type": "oauth",
      "redirectUrls": ["http://localhost:3000"],
      "requiredScopes": ["oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"],
      "optionalScopes": ["crm.objects.deals.read"],
      "conditionallyRequiredScopes": ["tickets"]
    },
    "permittedUrls": {"fetch": ["https://api.hubapi.com"]}
  },
  "later": {"unknown": [1, null]}
}`

func TestParseProject(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		want          appconfig.Scopes
	}{
		{"project app", hsmeta, appconfig.Scopes{
			Required:    []string{"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"},
			Conditional: []string{"tickets"}, Optional: []string{"crm.objects.deals.read"},
		}},
		{"byte order mark", "\ufeff" + hsmeta, appconfig.Scopes{
			Required:    []string{"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"},
			Conditional: []string{"tickets"}, Optional: []string{"crm.objects.deals.read"},
		}},
		{"required alone", `{"type":"app","config":{"auth":{"type":"oauth","requiredScopes":["oauth"]}}}`, appconfig.Scopes{Required: []string{"oauth"}}},
		{"empty lists", `{"type":"app","config":{"auth":{"type":"oauth","requiredScopes":["oauth"],"optionalScopes":[],"conditionallyRequiredScopes":[]}}}`, appconfig.Scopes{Required: []string{"oauth"}}},
		{"old public app", `{"name":"x","uid":"y","auth":{"redirectUrls":["http://localhost:3000/oauth-callback"],"requiredScopes":["oauth","tickets"],"optionalScopes":["files"]},"extensions":{}}`, appconfig.Scopes{Required: []string{"oauth", "tickets"}, Optional: []string{"files"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := appconfig.ParseProject("app-hsmeta.json", []byte(tc.content))
			if err != nil || !reflect.DeepEqual(got.Scopes, tc.want) || got.UserLevel {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestParseProjectRefuses(t *testing.T) {
	auth := func(fields string) string {
		return `{"type":"app","config":{"auth":{"type":"oauth",` + fields + `}}}`
	}
	for _, tc := range []struct{ name, content, want string }{
		{"empty", "", "app-hsmeta.json:1: is not JSON"},
		{"broken", "{\n\"type\": \"app\",\n}", "app-hsmeta.json:3: is not JSON"},
		{"a list", "[]", "app-hsmeta.json: must be a JSON object"},
		{"null", "null", "app-hsmeta.json: type is missing"},
		{"no type", "{}", "type is missing; an app-hsmeta.json has type app"},
		{"type not a string", `{"type":1}`, "type must be a string"},
		{"another component", `{"type":"webhooks","config":{}}`, `type is "webhooks"; the file of an app is needed`},
		{"no config", `{"type":"app"}`, "config is missing; it must be an object"},
		{"config not an object", `{"type":"app","config":[]}`, "config must be an object"},
		{"no auth", `{"type":"app","config":{}}`, "config.auth is missing"},
		{"auth null", `{"type":"app","config":{"auth":null}}`, "config.auth must be an object"},
		{"no auth type", `{"type":"app","config":{"auth":{}}}`, "config.auth.type is missing"},
		{"static app", `{"type":"app","config":{"auth":{"type":"static","requiredScopes":["oauth"]}}}`, `config.auth.type is "static"; only an app with oauth`},
		{"no required scopes", auth(`"optionalScopes":["files"]`), "config.auth.requiredScopes has no scope"},
		{"empty required scopes", auth(`"requiredScopes":[]`), "config.auth.requiredScopes has no scope"},
		{"other case", auth(`"RequiredScopes":["oauth"]`), "config.auth.requiredScopes has no scope"},
		{"scopes not a list", auth(`"requiredScopes":"oauth"`), "config.auth.requiredScopes must be a list of strings"},
		{"scopes null", auth(`"requiredScopes":null`), "config.auth.requiredScopes must be a list of strings"},
		{"scope not a string", auth(`"requiredScopes":["oauth",1]`), "config.auth.requiredScopes must be a list of strings"},
		{"scope null", auth(`"requiredScopes":["oauth",null]`), "config.auth.requiredScopes[1] must be a string"},
		{"scope twice", auth(`"requiredScopes":["oauth","oauth"]`), `config.auth.requiredScopes: "oauth" is given twice`},
		{"required and optional", auth(`"requiredScopes":["oauth"],"optionalScopes":["oauth"]`), `config.auth.optionalScopes: "oauth" is in config.auth.requiredScopes already`},
		{"bad scope", auth(`"requiredScopes":["a b"]`), `config.auth.requiredScopes: "a b" holds a character`},
		{"user level not a flag", `{"type":"app","config":{"isUserLevel":"yes","auth":{"type":"oauth","requiredScopes":["oauth"]}}}`, "config.isUserLevel must be true or false"},
		{"profile variable", auth(`"requiredScopes":["oauth"],"optionalScopes":["${SCOPE}"]`), "config.auth.optionalScopes[0] holds a variable of a HubSpot profile"},
		{"private app", `{"name":"x","scopes":["tickets"],"public":false}`, "this is the file of a private app"},
		{"old app without scopes", `{"auth":{}}`, "auth.requiredScopes has no scope"},
		{"old app, auth not an object", `{"auth":"oauth"}`, "auth must be an object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := appconfig.ParseProject("app-hsmeta.json", []byte(tc.content))
			if err == nil || !strings.HasPrefix(err.Error(), "app-hsmeta.json:") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestProjectOfAUserLevelApp(t *testing.T) {
	for text, want := range map[string]bool{`"isUserLevel":true,`: true, `"isUserLevel":false,`: false, "": false} {
		got, err := appconfig.ParseProject("app-hsmeta.json", []byte(`{"type":"app","config":{`+text+`"auth":{"type":"oauth","requiredScopes":["oauth"]}}}`))
		if err != nil || got.UserLevel != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestLoadProject(t *testing.T) {
	dir := t.TempDir()
	right, large := filepath.Join(dir, "my-app.json"), filepath.Join(dir, "large.json")
	writeFile(t, right, hsmeta)
	writeFile(t, large, hsmeta+strings.Repeat(" ", 1<<20))
	if got, err := appconfig.LoadProject(right); err != nil || len(got.Scopes.Required) != 3 || got.UserLevel {
		t.Errorf("got %+v, %v", got, err)
	}
	for path, want := range map[string]string{large: "is larger than", dir: "reading file", filepath.Join(dir, "none"): "opening file"} {
		if _, err := appconfig.LoadProject(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error with %q and the path", path, err, want)
		}
	}
}

func FuzzParseProject(f *testing.F) {
	f.Add([]byte(hsmeta))
	f.Add([]byte(`{"auth":{"requiredScopes":["oauth"]}}`))
	f.Add([]byte(`{"type":"app","config":{"auth":{"type":"oauth","requiredScopes":[null]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		project, err := appconfig.ParseProject("x.json", data)
		scopes := project.Scopes
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x.json:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		// What is taken from the file is right as settings, too.
		app := appconfig.App{
			ClientID: "x", ClientSecret: "{env.X}", RedirectURI: "https://app.example.com/cb",
			Scopes: scopes.Required, ConditionalScopes: scopes.Conditional, OptionalScopes: scopes.Optional,
		}
		if err := app.Validate("x"); err != nil {
			t.Errorf("%+v: %v", scopes, err)
		}
	})
}
