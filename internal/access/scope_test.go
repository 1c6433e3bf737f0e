package access_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// issuer makes a caller with a policy in every dimension.
func issuer(t testing.TB) *access.Caller {
	t.Helper()
	caller, err := access.NewCaller(access.CallerConfig{
		Name: "crm-sync", Keys: []secret.Text{secret.New(testKey)},
		Apps: []string{"hb*"}, Users: []string{"acme", "globex-*", "*@example.com"},
		Allow: parseRules(t, []string{"GET,POST /crm/*", "GET /files/*"}), Deny: parseRules(t, []string{"* /crm/*/gdpr-delete"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func TestNarrowUser(t *testing.T) {
	for _, tc := range []struct {
		name, app, user string // of the token
		askApp, askUser string
		want            string
		byToken         bool
	}{
		{name: "its own", app: "hbdev", user: "acme", askApp: "hbdev", askUser: "acme", want: allowed},
		{name: "app in another case", app: "hbdev", user: "acme", askApp: "HbDev", askUser: "acme", want: allowed},
		{name: "no user named", app: "hbdev", user: "acme", askApp: "hbdev", want: allowed},
		{name: "another app", app: "hbdev", user: "acme", askApp: "hbprod", askUser: "acme", want: "app", byToken: true},
		{name: "another user", app: "hbdev", user: "acme", askApp: "hbdev", askUser: "globex-1", want: "user", byToken: true},
		{name: "user in another case", app: "hbdev", user: "globex-a", askApp: "hbdev", askUser: "globex-A", want: "user", byToken: true},
		{name: "user with an asterisk", app: "hbdev", user: "globex-*", askApp: "hbdev", askUser: "globex-1", want: "user", byToken: true},
		{name: "asterisk to the letter", app: "hbdev", user: "globex-*", askApp: "hbdev", askUser: "globex-*", want: allowed},
		{name: "a user that the issuer may not", app: "hbdev", user: "umbrella", askApp: "hbdev", askUser: "umbrella", want: "user"},
		{name: "an app that the issuer may not", app: "other", user: "acme", askApp: "other", askUser: "acme", want: "app"},
		{name: "no scope", askApp: "hbdev", askUser: "acme", want: "app", byToken: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := issuer(t).Narrow(access.Scope{App: tc.app, User: tc.user})
			err := token.CheckUser(tc.askApp, tc.askUser)
			if got := verdictOf(t, err); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "this user token of caller") != tc.byToken {
				t.Errorf("the error is %q", err)
			}
			if tc.askUser != "" && (token.MayApp(tc.askApp) && token.MayUser(tc.askUser)) != (tc.want == allowed) {
				t.Error("MayApp and MayUser say otherwise")
			}
		})
	}
}

func TestNarrowPath(t *testing.T) {
	contacts := []string{"GET /crm/objects/*/contacts*"}
	for _, tc := range []struct {
		name         string
		allow, deny  []string
		method, path string
		want         string
	}{
		{"no rules: the issuer's", nil, nil, "POST", "/crm/x", allowed},
		{"no rules: not the issuer's", nil, nil, "DELETE", "/crm/x", "method"},
		{"no rules: the issuer's deny", nil, nil, "POST", "/crm/x/gdpr-delete", "path"},
		{"allowed by both", contacts, nil, "GET", "/crm/objects/v3/contacts", allowed},
		{"method of the issuer only", contacts, nil, "POST", "/crm/objects/v3/contacts", "method"},
		{"path of the issuer only", contacts, nil, "GET", "/files/x", "path"},
		{"more than the issuer", []string{"* *"}, nil, "DELETE", "/crm/x", "method"},
		{"more than the issuer: its deny", []string{"* *"}, nil, "POST", "/crm/x/gdpr-delete", "path"},
		{"more than the issuer: odd case", []string{"* *"}, nil, "POST", "/crm/x/GDPR-delete;v", "path"},
		{"denied by the token", nil, []string{"* /crm/*/search"}, "POST", "/crm/x/search", "path"},
		{"denied by the token, odd case", nil, []string{"* /crm/*/search"}, "POST", "/crm/x/Search/", "path"},
		{"beside the token's deny", nil, []string{"* /crm/*/search"}, "POST", "/crm/x", allowed},
		{"deny wins over allow", contacts, []string{"GET /crm/*"}, "GET", "/crm/objects/v3/contacts", "method"},
		{"out of the token by dots", contacts, nil, "GET", "/crm/objects/v3/contacts/../deals", ambiguous},
		{"out of the token by encoded dots", contacts, nil, "GET", "/crm/objects/v3/contacts/%2e%2e/deals", ambiguous},
		{"into the token's deny by an encoding", nil, []string{"* /crm/*/search"}, "POST", "/crm/x/%2573earch", ambiguous},
		{"odd reading of the issuer's", []string{"* *"}, nil, "GET", "/crm/..%2fsettings", ambiguous},
		{"odd method", contacts, nil, "get", "/crm/objects/v3/contacts", ambiguous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := issuer(t).Narrow(access.Scope{
				App: "hbdev", User: "acme", Allow: parseRules(t, tc.allow), Deny: parseRules(t, tc.deny),
			})
			readings, err := access.Readings(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := verdictOf(t, token.Check("hbdev", "acme", tc.method, readings)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNarrowedCaller(t *testing.T) {
	caller := issuer(t)
	if caller.Scope() != nil || access.Open().Scope() != nil {
		t.Error("a caller that is no token has a scope")
	}
	token := caller.Narrow(access.Scope{TokenID: "id", App: "hbdev", User: "acme"})
	if token.Name() != "crm-sync" || token.Scope().TokenID != "id" || token.Scope().User != "acme" {
		t.Errorf("a token of %q with %v", token.Name(), token.Scope())
	}
	for rules, want := range map[string]bool{"": false, "GET /a": true} {
		var s access.Scope
		if rules != "" {
			s.Deny = parseRules(t, []string{rules})
		}
		if s.Narrowed() != want {
			t.Errorf("Narrowed() with %q is %v", rules, !want)
		}
	}
	twice := access.Scope{Allow: parseRules(t, []string{"GET /a", "GET /a"})}
	if err := twice.CheckRules(); err == nil || !strings.Contains(err.Error(), `allow: rule "GET /a" is given twice`) {
		t.Errorf("rules twice: %v", err)
	}
}

// FuzzNarrow looks for requests that a token permits and its issuer does not,
// or that the token's own rules do not.
func FuzzNarrow(f *testing.F) {
	f.Add("acme", "acme", "GET", "/crm/x", "GET /crm/*", "")
	f.Add("globex-*", "globex-1", "post", "/crm/..%2fx", "* *", "* /crm/*")
	f.Add("a@example.com", "a@example.com", "GET", "/FILES/x;y", "GET /files/*", "DELETE *")
	f.Fuzz(func(t *testing.T, user, asked, method, path, allow, deny string) {
		caller, scope := issuer(t), access.Scope{App: "hbdev", User: user}
		own := access.CallerConfig{Name: "own", Keys: []secret.Text{secret.New(testKey)}}
		if rule, err := access.ParseRuleText(allow); err == nil {
			scope.Allow, own.Allow = []access.Rule{rule}, []access.Rule{rule}
		}
		if rule, err := access.ParseRuleText(deny); err == nil {
			scope.Deny, own.Deny = []access.Rule{rule}, []access.Rule{rule}
		}
		readings, err := access.Readings(path)
		if err != nil || asked == "" {
			return
		}
		alone, err := access.NewCaller(own)
		if err != nil {
			t.Fatal(err)
		}
		got := caller.Narrow(scope).Check("hbdev", asked, method, readings) == nil
		want := asked == user && caller.Check("hbdev", asked, method, readings) == nil && alone.Check("hbdev", asked, method, readings) == nil
		if got != want {
			t.Errorf("permitted: %v, want %v", got, want)
		}
	})
}

func TestUserToken(t *testing.T) {
	token := access.UserTokenPrefix + "abc"
	for _, tc := range []struct {
		header []string
		want   bool
	}{
		{nil, false},
		{[]string{"Bearer " + token}, true},
		{[]string{"bearer   " + token + " "}, true},
		{[]string{"Bearer " + token, "Bearer " + token}, false},
		{[]string{"Basic " + token}, false},
		{[]string{"Bearer HSUT_abc"}, false},
		{[]string{"Bearer " + testKey}, false},
		{[]string{token}, false},
		{[]string{""}, false},
	} {
		got, ok := access.UserToken(http.Header{"Authorization": tc.header})
		if ok != tc.want || ok && got != token {
			t.Errorf("%q: %q, %v", tc.header, got, ok)
		}
	}
}

// A key is never taken for a user token, nor the reverse.
func TestKeyWithPrefixOfTokens(t *testing.T) {
	_, err := access.NewCaller(access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New(access.UserTokenPrefix + testKey)}})
	if err == nil || !strings.Contains(err.Error(), "key 1: begins with hsut_") || strings.Contains(err.Error(), testKey) {
		t.Errorf("such a key: %v", err)
	}
}

func TestByName(t *testing.T) {
	registry, err := access.NewRegistry([]*access.Caller{issuer(t)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"crm-sync": true, "CRM-Sync": true, "crm": false, "": false} {
		if caller, ok := registry.ByName(name); ok != want || ok && caller.Name() != "crm-sync" {
			t.Errorf("%q: %v, %v", name, caller, ok)
		}
	}
}

func TestParseRuleText(t *testing.T) {
	for _, text := range []string{"GET,POST /crm/*", "* *", "GET /a b"} {
		rule, err := access.ParseRuleText(text)
		if err != nil || rule.String() != text {
			t.Errorf("%q becomes %q, %v", text, rule, err)
		}
	}
	for text, want := range map[string]string{
		"": "give methods and a path", "GET": "give methods and a path", "get /x": "upper case", "GET /x?y": "the query is not compared", "GET  /x": "must start with /",
	} {
		if _, err := access.ParseRuleText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
