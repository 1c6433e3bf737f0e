package callerapi_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// form makes a form of pairs of name and value.
func form(pairs ...string) string {
	values := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// issuedAnswer is what the token endpoint answers.
type issuedAnswer struct {
	Token, TokenType string
	User             string `json:"userForeignIdentifier"`
	App              string
	ExpiresAt        time.Time
	ExpiresIn        int
}

// issueToken asks for a user token for the app hbdev, in JSON, with the
// tester's key.
func issueToken(k *installtest.Kit, body string) string {
	k.T.Helper()
	got := askForToken(k, "hbdev", jsonType, body, sidecartest.CallerKey)
	if got.StatusCode != http.StatusOK {
		k.T.Fatalf("asking for a token: %s: %s", got.Status, got.Text)
	}
	var issued issuedAnswer
	got.JSON(k.T, &issued)
	return issued.Token
}

func askForToken(k *installtest.Kit, app, contentType, body, key string) sidecartest.Answer {
	k.T.Helper()
	return k.Do(http.MethodPost, "/hubspot/tokens/"+app, strings.NewReader(body), "Authorization", "Bearer "+key, "Content-Type", contentType)
}

func TestIssueToken(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	k.Connect("acme", sandbox.DemoHubID)
	for name, tc := range map[string]struct {
		app, contentType, body, key string
		expiresIn                   int
		log                         string
	}{
		"least":       {"hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, sidecartest.CallerKey, 3600, `"narrowed":false`},
		"all":         {"HbDev", jsonType, `{"userForeignIdentifier":"acme","expiresIn":60,"allow":["GET,POST /crm/*"],"deny":["* /crm/*/x"]}`, sidecartest.CallerKey, 60, `"narrowed":true`},
		"no deny":     {"hbdev", jsonType, `{"userForeignIdentifier":"acme","expiresIn":1,"deny":[]}`, sidecartest.CallerKey, 1, `"narrowed":false`},
		"form":        {"hbdev", formType, form("userForeignIdentifier", "acme"), sidecartest.CallerKey, 3600, `"narrowed":false`},
		"whole form":  {"hbdev", formType + ";charset=utf-8", form("userForeignIdentifier", "acme", "expiresIn", "3600", "allow", "GET /a", "allow", "POST /b", "deny", "* /c"), sidecartest.CallerKey, 3600, `"narrowed":true`},
		"another key": {"hbdev", jsonType, `{"userForeignIdentifier":"globex-1"}`, installtest.LimitedKey, 3600, `"caller":"limited"`},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			got := askForToken(k, tc.app, tc.contentType, tc.body, tc.key)
			var issued issuedAnswer
			got.JSON(t, &issued)
			if got.StatusCode != http.StatusOK || issued.TokenType != "bearer" || issued.App != "hbdev" || issued.ExpiresIn != tc.expiresIn || !strings.Contains(tc.body, issued.User) {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
			if !regexp.MustCompile(`^hsut_[A-Za-z0-9_-]{60,}$`).MatchString(issued.Token) || len(issued.Token) > 4096 {
				t.Errorf("the token is %q", issued.Token)
			}
			life := time.Duration(tc.expiresIn) * time.Second
			if issued.ExpiresAt.Before(before.Add(life-time.Second)) || issued.ExpiresAt.After(time.Now().Add(life)) {
				t.Errorf("expires at %v", issued.ExpiresAt)
			}
			if got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control is %q", got.Header.Get("Cache-Control"))
			}
			lines := k.LogLines("user token issued")
			for _, want := range []string{tc.log, `"app":"hbdev"`, `"user_tag":"`, `"token_id":"`, `"expires_at":`} {
				if !strings.Contains(lines[len(lines)-1], want) {
					t.Errorf("%s lacks %s", lines[len(lines)-1], want)
				}
			}
		})
	}
}

func TestIssueTokenRefusals(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	token := issueToken(k, `{"userForeignIdentifier":"acme"}`)
	const acme = `{"userForeignIdentifier":"acme",`
	for name, tc := range map[string]struct {
		app, contentType, body, key string
		status                      int
		sub, text                   string
	}{
		"no key":                 {"hbdev", jsonType, acme + `}`, "", 401, "caller_unauthenticated", "Bearer"},
		"unknown key":            {"hbdev", jsonType, acme + `}`, "some-other-key-0123456789", 401, "caller_unauthenticated", "not known"},
		"by a token":             {"hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, token, 403, "caller_forbidden", "cannot issue tokens"},
		"another's app":          {"hbprod", jsonType, acme + `}`, installtest.LimitedKey, 403, "caller_forbidden", "may not use this app"},
		"another's user":         {"hbdev", jsonType, `{"userForeignIdentifier":"acme"}`, installtest.LimitedKey, 403, "caller_forbidden", "may not act for this user"},
		"unknown app":            {"other", jsonType, acme + `}`, sidecartest.CallerKey, 404, "bad_request", "no app"},
		"no body":                {"hbdev", "", "", sidecartest.CallerKey, 400, "bad_request", "Content-Type"},
		"text":                   {"hbdev", "text/plain", `{"userForeignIdentifier":"acme"}`, sidecartest.CallerKey, 400, "bad_request", "Content-Type"},
		"not JSON":               {"hbdev", jsonType, `{`, sidecartest.CallerKey, 400, "bad_request", "not valid JSON"},
		"not UTF-8":              {"hbdev", jsonType, "{\"userForeignIdentifier\":\"a\xff\"}", sidecartest.CallerKey, 400, "bad_request", "not UTF-8"},
		"broken form":            {"hbdev", formType, "userForeignIdentifier=%zz", sidecartest.CallerKey, 400, "bad_request", "well-formed"},
		"no user":                {"hbdev", jsonType, `{}`, sidecartest.CallerKey, 400, "user_required", "userForeignIdentifier is missing"},
		"no user in form":        {"hbdev", formType, "expiresIn=60", sidecartest.CallerKey, 400, "user_required", "userForeignIdentifier is missing"},
		"user no text":           {"hbdev", jsonType, `{"userForeignIdentifier":7}`, sidecartest.CallerKey, 400, "bad_request", "has to be a text"},
		"user twice":             {"hbdev", formType, "userForeignIdentifier=a&userForeignIdentifier=b", sidecartest.CallerKey, 400, "bad_request", "2 times"},
		"user twice in JSON":     {"hbdev", jsonType, acme + `"userForeignIdentifier":"b"}`, sidecartest.CallerKey, 400, "bad_request", "twice"},
		"control character":      {"hbdev", jsonType, `{"userForeignIdentifier":"a\u0000b"}`, sidecartest.CallerKey, 400, "bad_request", "control"},
		"user too long":          {"hbdev", formType, "userForeignIdentifier=" + strings.Repeat("x", userid.MaxLength+1), sidecartest.CallerKey, 400, "bad_request", "longer"},
		"unknown field":          {"hbdev", jsonType, acme + `"alow":["GET /a"]}`, sidecartest.CallerKey, 400, "bad_request", `no field \"alow\"`},
		"unknown field in form":  {"hbdev", formType, "userForeignIdentifier=acme&denied=x", sidecartest.CallerKey, 400, "bad_request", `no field \"denied\"`},
		"lives too long":         {"hbdev", jsonType, acme + `"expiresIn":3601}`, sidecartest.CallerKey, 400, "bad_request", "from 1 to 3600"},
		"lives not":              {"hbdev", jsonType, acme + `"expiresIn":0}`, sidecartest.CallerKey, 400, "bad_request", "from 1 to 3600"},
		"lives in the past":      {"hbdev", formType, "userForeignIdentifier=acme&expiresIn=-1", sidecartest.CallerKey, 400, "bad_request", "from 1 to 3600"},
		"a part of a second":     {"hbdev", jsonType, acme + `"expiresIn":1.5}`, sidecartest.CallerKey, 400, "bad_request", "whole number"},
		"life as a text":         {"hbdev", jsonType, acme + `"expiresIn":"60"}`, sidecartest.CallerKey, 400, "bad_request", "whole number"},
		"life beyond numbers":    {"hbdev", formType, "userForeignIdentifier=acme&expiresIn=99999999999999999999", sidecartest.CallerKey, 400, "bad_request", "whole number"},
		"allow nothing":          {"hbdev", jsonType, acme + `"allow":[]}`, sidecartest.CallerKey, 400, "bad_request", "allow is empty"},
		"allow null":             {"hbdev", jsonType, acme + `"allow":null}`, sidecartest.CallerKey, 400, "bad_request", "list of rules"},
		"allow a text":           {"hbdev", jsonType, acme + `"allow":"GET /a"}`, sidecartest.CallerKey, 400, "bad_request", "list of rules"},
		"allow empty in form":    {"hbdev", formType, "userForeignIdentifier=acme&allow=", sidecartest.CallerKey, 400, "bad_request", "give methods and a path"},
		"allow without a path":   {"hbdev", jsonType, acme + `"allow":["GET"]}`, sidecartest.CallerKey, 400, "bad_request", "give methods and a path"},
		"unknown method":         {"hbdev", jsonType, acme + `"deny":["GTE /a"]}`, sidecartest.CallerKey, 400, "bad_request", `deny: rule \"GTE /a\": \"GTE\" is not an HTTP method`},
		"query in a path":        {"hbdev", jsonType, acme + `"allow":["GET /a?b"]}`, sidecartest.CallerKey, 400, "bad_request", "the query is not compared"},
		"rule twice":             {"hbdev", jsonType, acme + `"allow":["GET /a","GET /a"]}`, sidecartest.CallerKey, 400, "bad_request", "given twice"},
		"rules too long":         {"hbdev", jsonType, acme + `"allow":["GET /` + strings.Repeat("a", 4000) + `"]}`, sidecartest.CallerKey, 400, "bad_request", "4096 characters"},
		"body too large":         {"hbdev", jsonType, acme + `"allow":["GET /` + strings.Repeat("a", 16<<10) + `"]}`, sidecartest.CallerKey, 413, "bad_request", "larger than 16 KiB"},
		"fields in the query":    {"hbdev?userForeignIdentifier=acme", jsonType, `{"userForeignIdentifier":"acme"}`, sidecartest.CallerKey, 400, "bad_request", "into the body"},
		"restricted in a query":  {"hbdev?deny=*", jsonType, `{"userForeignIdentifier":"acme"}`, sidecartest.CallerKey, 400, "bad_request", "into the body"},
		"query too long for all": {"hbdev?" + strings.Repeat("x", 8<<10+1), jsonType, `{"userForeignIdentifier":"acme"}`, sidecartest.CallerKey, 414, "bad_request", "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := askForToken(k, tc.app, tc.contentType, tc.body, tc.key)
			sidecartest.WantOwnError(t, got, tc.status, tc.sub)
			if !strings.Contains(got.Text, tc.text) || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s", got.Status, got.Text)
			}
		})
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		got := k.Do(method, "/hubspot/tokens/hbdev", nil, "Authorization", "Bearer "+sidecartest.CallerKey)
		if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %s, Allow %q", method, got.Status, got.Header.Get("Allow"))
		}
	}
	got := k.Do("POST", "/hubspot/tokens/hbdev", strings.NewReader("x"), "Authorization", "Bearer "+sidecartest.CallerKey, "Content-Type", jsonType, "Content-Encoding", "gzip")
	if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, "Content-Encoding") {
		t.Errorf("encoded: %s: %s", got.Status, got.Text)
	}
}

// What a token may do at hubspot_auth, by whether it is narrowed.
func TestTokensAtAuth(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	for _, user := range []string{"acme", "globex-1"} {
		k.Connect(user, sandbox.DemoHubID)
	}
	whole := issueToken(k, `{"userForeignIdentifier":"acme"}`)
	narrow := issueToken(k, `{"userForeignIdentifier":"acme","deny":["DELETE *"]}`)
	stranger := issueToken(k, `{"userForeignIdentifier":"stranger"}`)
	const link, list = "/hubspot/auth/hbdev?userForeignIdentifier=", "/hubspot/connections/hbdev"
	for _, tc := range []struct {
		name, method, target  string
		status                int
		text                  string
		narrowStatus          int
		narrowText, dimension string
	}{
		{"link", "GET", link + "acme", 200, `"userForeignIdentifier":"acme"`, 403, "was narrowed", ""},
		{"another's link", "GET", link + "globex-1", 403, "this user", 403, "was narrowed", "user"},
		{"another app's link", "GET", "/hubspot/auth/hbprod?userForeignIdentifier=acme", 403, "this app", 403, "this app", "app"},
		{"link to another account", "GET", link + "acme&allow_portal_change=true", 403, "cannot move", 403, "was narrowed", ""},
		{"list", "GET", list, 200, `"userForeignIdentifier":"acme"`, 403, "was narrowed", ""},
		{"list from a cursor", "GET", list + "?after=x", 400, "cursor", 403, "was narrowed", ""},
		{"one", "GET", list + "/acme", 200, `"hubId"`, 200, `"hubId"`, ""},
		{"another's", "GET", list + "/globex-1", 403, "this user", 403, "this user", "user"},
		{"deleting another's", "DELETE", list + "/globex-1", 403, "this user", 403, "was narrowed", "user"},
		{"tokens", "POST", "/hubspot/tokens/hbdev", 403, "cannot issue tokens", 403, "cannot issue tokens", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, turn := range []struct {
				token, text string
				status      int
			}{{whole, tc.text, tc.status}, {narrow, tc.narrowText, tc.narrowStatus}} {
				got := k.Do(tc.method, tc.target, nil, "Authorization", "Bearer "+turn.token)
				if got.StatusCode != turn.status || !strings.Contains(got.Text, turn.text) || strings.Contains(got.Text, `"userForeignIdentifier":"globex-1"`) {
					t.Errorf("%s: %s", got.Status, got.Text)
				}
				if turn.token == whole && tc.dimension != "" && !strings.Contains(got.Text, `"dimension":["`+tc.dimension+`"]`) {
					t.Errorf("the dimension is not %s: %s", tc.dimension, got.Text)
				}
			}
		})
	}
	// A user who is not connected: nothing in the list, and a link for whom
	// could have asked for one.
	if got := k.Do("GET", list, nil, "Authorization", "Bearer "+stranger); got.Text != `{"results":[]}`+"\n" {
		t.Errorf("the list of a stranger: %s: %s", got.Status, got.Text)
	}
	narrowStranger := issueToken(k, `{"userForeignIdentifier":"stranger","allow":["GET *"]}`)
	for token, want := range map[string]bool{stranger: true, narrowStranger: false} {
		e := sidecartest.WantOwnError(t, k.As(token, "GET", list+"/stranger"), 404, "not_connected")
		if (e.Links["connect"] != "") != want {
			t.Errorf("links %v, want one: %v", e.Links, want)
		}
	}
	// The end, which is logged with the token's id.
	if got := k.Do("DELETE", list+"/acme", nil, "Authorization", "Bearer "+whole); got.StatusCode != http.StatusOK {
		t.Errorf("disconnecting: %s: %s", got.Status, got.Text)
	}
	lines := k.LogLines("connection deleted")
	if len(lines) != 1 || !strings.Contains(lines[0], `"token_id":"`) || !strings.Contains(lines[0], `"caller":"tester"`) {
		t.Errorf("the log has %v", lines)
	}
}
