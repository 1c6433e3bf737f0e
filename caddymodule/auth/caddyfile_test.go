package auth_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

func TestGolden(t *testing.T) { caddytest.Golden(t, "testdata") }

// Each wrong setting is refused by its name, with the line where it stands.
func TestAuthCaddyfileRefused(t *testing.T) {
	tests := map[string]struct {
		site string
		// line is that of the site from 1, or 0 where the error has none.
		line int
		want string
	}{
		"argument":             {"hubspot_auth hbdev", 1, `no argument but a matcher; "hbdev" is too much`},
		"unknown setting":      {"hubspot_auth {\nbasepath /x\n}", 2, `hubspot_auth: unknown setting "basepath"; there are: base_path, browsers, rate, return_to, sign_in, user`},
		"setting twice":        {"hubspot_auth {\nbase_path /x\nbase_path /y\n}", 3, "hubspot_auth: base_path is given twice"},
		"surplus argument":     {"hubspot_auth {\nuser a b\n}", 2, "user: give exactly one value"},
		"missing argument":     {"hubspot_auth {\nuser\n}", 2, "user: give exactly one value"},
		"block":                {"hubspot_auth {\nuser a {\nx\n}\n}", 2, "user takes no block"},
		"base_path":            {"hubspot_auth {\nbase_path hubspot\n}", 2, `hubspot_auth: base_path "hubspot": must begin with a slash`},
		"user":                 {"hubspot_auth {\nuser " + strings.Repeat("x", userid.MaxLength+1) + "\n}", 2, "hubspot_auth: user: the user identifier is longer"},
		"sign_in relative":     {"hubspot_auth {\nuser {http.auth.user.id}\nsign_in /login\n}", 3, `hubspot_auth: sign_in "/login": must be a whole address`},
		"sign_in plain http":   {"hubspot_auth {\nuser {http.auth.user.id}\nsign_in http://app.example.com/login\n}", 3, "localhost only"},
		"sign_in without user": {"hubspot_auth {\nsign_in https://app.example.com/login\n}", 1, "hubspot_auth: sign_in needs the setting user"},
		"return_to none":       {"hubspot_auth {\nreturn_to\n}", 2, "return_to: give at least one value"},
		"return_to anything":   {"hubspot_auth {\nreturn_to *\n}", 2, `hubspot_auth: return_to "*": must be a whole address`},
		"return_to any host":   {"hubspot_auth {\nreturn_to https://app.example.com/*\nreturn_to https://*.com/*\n}", 3, "hubspot_auth: return_to \"https://*.com/*\": would let browsers"},
		"return_to twice":      {"hubspot_auth {\nreturn_to https://app.example.com/*\nreturn_to https://app.example.com/*\n}", 3, "hubspot_auth: return_to \"https://app.example.com/*\": is given twice"},
		"browsers and more":    {"hubspot_auth {\nbrowsers only\n}", 2, "browsers: takes no value"},
		"browsers twice":       {"hubspot_auth {\nbrowsers\nbrowsers\n}", 3, "hubspot_auth: browsers is given twice"},
		"rate one argument":    {"hubspot_auth {\nrate 30\n}", 2, "hubspot_auth: rate: give a number of requests and a duration"},
		"rate 0":               {"hubspot_auth {\nrate 0 1m\n}", 2, "hubspot_auth: rate: a rate of 0"},
		"rate no duration":     {"hubspot_auth {\nrate 30 minute\n}", 2, `hubspot_auth: rate: "minute" is not a span of time`},

		"sign_in placeholder":           {"hubspot_auth {\nuser a\nsign_in {env.NOT_SET}\n}", 0, "hubspot_auth: sign_in: "},
		"sign_in placeholder's value":   {"hubspot_auth {\nuser a\nsign_in {env.BAD_ADDRESS}\n}", 0, "hubspot_auth: sign_in \"ftp://x/\": must begin with https://"},
		"return_to placeholder":         {"hubspot_auth {\nreturn_to {env.NOT_SET}\n}", 0, "hubspot_auth: return_to: "},
		"return_to placeholder's value": {"hubspot_auth {\nreturn_to {env.BAD_ADDRESS}\n}", 0, "hubspot_auth: return_to \"ftp://x/\": must begin with https://"},
	}
	h := caddytest.New(t)
	t.Setenv("BAD_ADDRESS", "ftp://x/")
	before, _, _ := strings.Cut(caddytest.Caddyfile("", "the site"), "the site")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := h.Load(caddytest.Caddyfile("", tt.site))
			at := ""
			if tt.line > 0 {
				at = ", at Caddyfile:" + strconv.Itoa(strings.Count(before, "\n")+tt.line)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), at) {
				t.Errorf("Load() = %v, want an error with %q%s", err, tt.want, at)
			}
		})
	}
}

// What is wrong between hubspot_auth and the apps shows at load as well.
func TestAuthAndAppsRefused(t *testing.T) {
	app := func(name, redirect string) string {
		return `app ` + name + ` {
			client_id     {env.HUBSPOT_CLIENT_ID}
			client_secret {env.HUBSPOT_CLIENT_SECRET}
			scopes        oauth
			redirect_uri  https://app.example.com` + redirect + `
		}`
	}
	tests := map[string]struct{ global, want string }{
		"app called auth":        {app("Auth", "/cb"), "the name is taken by a path of hubspot_auth"},
		"app called connections": {app("connections", "/cb"), "the name is taken by a path of hubspot_auth"},
		"app called tokens":      {app("TOKENS", "/cb"), "the name is taken by a path of hubspot_auth"},
		"callback at connect":    {app("other", "/hubspot/other/connect"), "one of hubspot_auth's own"},
		"callback at link":       {app("other", "/hubspot/auth/other"), "one of hubspot_auth's own"},
		"callback at tokens":     {app("other", "/hubspot/tokens/other"), "one of hubspot_auth's own"},
		"callback at list":       {app("other", "/hubspot/connections/x/y"), "one of hubspot_auth's own"},
	}
	h := caddytest.New(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := h.Load(caddytest.Caddyfile(tt.global, "hubspot_auth"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load() = %v, want an error with %q", err, tt.want)
			}
		})
	}
	err := h.Load("http://localhost:0 {\n\thubspot_auth\n}\n")
	if err == nil || !strings.Contains(err.Error(), "global option hubspot is missing") {
		t.Errorf("without the global option: %v", err)
	}
}
