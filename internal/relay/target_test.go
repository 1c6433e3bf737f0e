package relay

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// received returns a request as a server has it that got this target.
func received(t *testing.T, requestTarget string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + requestTarget + " HTTP/1.1\r\nHost: localhost\r\n\r\n")))
	if err != nil {
		t.Fatalf("reading a request for %q: %v", requestTarget, err)
	}
	return r
}

func TestTargetKeepsBytes(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"/", "/crm/v3", "/crm/v3/", "/a%2Fb", "/a%2fb", "/a%20b", "/a+b", "/%7Ea", "/~a", "/a;b=c", "/a//b", "//a/b",
		"/a|b", "/a^b", "/a`b", "/{a}", `/"a"`, "/<a>", `/a\b`, "/[a]", "/é", "/a%C3%A9é", "/a=b&c", "/a:b@c,d$e!f*g'(h)", "/.", "/a/../b", "/%2e%2e/a", "/a#b",
		"/?", "/??", "/a?", "/a?b", "/a?b=c&b=d&b", "/a?b=%zz", "/a?b=é&c=|", "/a?b=c?d", "/a?b;c", "/a?&&", "/a?b=+%20",
		"/a%25b", "/%", "/as", "/raw",
	} {
		if target == "/%" {
			continue // no server takes it
		}
		r := received(t, target)
		got, err := targetOf(r, target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if sent := got.url("https", "api.hubapi.com").RequestURI(); sent != target {
			t.Errorf("%s goes up as %s", target, sent)
		}
	}
}

func TestTargetForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ target, path, query, err string }{
		{"http://localhost/a%2Fb?c", "/a%2Fb", "c", ""},
		{"http://localhost", "/", "", ""},
		{"http://localhost?c", "/", "c", ""},
		{"http://localhost/a|b", "/a|b", "", ""},
		{"*", "", "", errNoPath.Error()},
		{"//a|b", "", "", errOddPath.Error()},
		{"///a|b", "", "", errOddPath.Error()},
		{"//é", "", "", errOddPath.Error()},
	} {
		got, err := targetOf(received(t, tc.target), tc.target)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: error %v, want %s", tc.target, err, tc.err)
			}
			continue
		}
		if err != nil || got.path != tc.path || got.query != tc.query {
			t.Errorf("%s: %+v, %v; want %s?%s", tc.target, got, err, tc.path, tc.query)
		}
	}
}

// afterHandlePath takes a prefix off a request as handle_path does it.
func afterHandlePath(r *http.Request, prefix string) *http.Request {
	out, u := *r, *r.URL
	out.URL = &u
	u.Path = u.Path[min(len(prefix), len(u.Path)):]
	u.RawPath = u.RawPath[min(len(prefix), len(u.RawPath)):]
	return &out
}

func TestTargetAfterHandlePath(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/hs/crm/a":        "/crm/a",
		"/hs/crm/a%2Fb":    "/crm/a%2Fb",
		"/hs/crm/a|b":      "/crm/a|b",
		"/hs/crm/é{}":      "/crm/é{}",
		"/hs/crm/%C3%A9é?": "/crm/%C3%A9é?",
		"/HS/crm/a|b":      "/crm/a|b",
	} {
		r := afterHandlePath(received(t, target), "/hs")
		got, err := targetOf(r, target)
		if sent := got.url("https", "api.hubapi.com").RequestURI(); err != nil || sent != want {
			t.Errorf("%s without /hs goes up as %s, %v; want %s", target, sent, err, want)
		}
	}
}

func TestTargetAfterRewrite(t *testing.T) {
	t.Parallel()
	r := received(t, "/old|path?x=1")
	sent := r.RequestURI
	u := *r.URL
	r.URL = &u
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/new/path", "", "y=2"
	r.RequestURI = r.URL.RequestURI()
	got, err := targetOf(r, sent)
	if err != nil || got.path != "/new/path" || got.query != "y=2" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestCutUser(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		target, user, rest string
		ok, wrong          bool
	}{
		{target: "/crm/v3", rest: "/crm/v3"},
		{target: "/as", rest: "/as"},
		{target: "/asset/a", rest: "/asset/a"},
		{target: "/as/acme/crm/v3?a=b", user: "acme", rest: "/crm/v3?a=b", ok: true},
		{target: "/as/acme/", user: "acme", rest: "/", ok: true},
		{target: "/as/a%2Fb/crm/c%2Fd", user: "a/b", rest: "/crm/c%2Fd", ok: true},
		{target: "/as/jo@example.com/crm", user: "jo@example.com", rest: "/crm", ok: true},
		{target: "/as/jo%40example.com/crm", user: "jo@example.com", rest: "/crm", ok: true},
		{target: "/as/a+b/crm", user: "a+b", rest: "/crm", ok: true},
		{target: "/as/a%252Fb/crm", user: "a%2Fb", rest: "/crm", ok: true},
		{target: "/as/%C3%A9/crm/a|b", user: "é", rest: "/crm/a|b", ok: true},
		{target: "/as/{http.request.host}/crm", user: "{http.request.host}", rest: "/crm", ok: true},
		{target: "/as//crm", user: "", rest: "/crm", ok: true},
		// An SDK whose base URL ends in a slash makes two of them.
		{target: "/as/acme//crm", user: "acme", rest: "/crm", ok: true},
		{target: "/as/acme//", user: "acme", rest: "/", ok: true},
		{target: "/as/acme///crm", user: "acme", rest: "//crm", ok: true},
		{target: "/as/acme//a|b", user: "acme", rest: "/a|b", ok: true},
		{target: "/as/acme", ok: true, wrong: true},
		{target: "/as/../crm", ok: true, wrong: true},
		{target: "/as/%2e%2E/crm", ok: true, wrong: true},
		{target: "/as/./crm", ok: true, wrong: true},
		{target: "/as/acme///a|b", ok: true, wrong: true},
		// A client that has joined paths as URLs has lost the user.
		{target: "/as/crm/v3/objects/contacts", ok: true, wrong: true},
		{target: "/as/%63rm/v3/objects/contacts", ok: true, wrong: true},
		{target: "/as/oauth/v1/token", ok: true, wrong: true},
	} {
		whole, err := targetOf(received(t, tc.target), tc.target)
		if err != nil {
			t.Fatal(err)
		}
		user, rest, ok, err := whole.cutUser()
		if ok != tc.ok || (err != nil) != tc.wrong {
			t.Errorf("%s: ok %v, %v", tc.target, ok, err)
			continue
		}
		if sent := rest.url("https", "x").RequestURI(); !tc.wrong && (user != tc.user || sent != tc.rest) {
			t.Errorf("%s: user %q, rest %s; want %q, %s", tc.target, user, sent, tc.user, tc.rest)
		}
	}
}

func TestWithoutDeveloperKey(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                        "",
		"a=b":                     "a=b",
		"hapikey=x":               "",
		"hapikey":                 "",
		"hapikey=":                "",
		"a=b&hapikey=x":           "a=b",
		"hapikey=x&a=b":           "a=b",
		"a=%7e&hapikey=x&b=+&c&&": "a=%7e&b=+&c&&",
		"hapikey=x&hapikey=y":     "",
		"%68apikey=x&a":           "a",
		"hapi%6Bey=x&a":           "a",
		"%68%61%70%69%6b%65%79=x": "",
		"HAPIKEY=x&a":             "a",
		"+hapikey=x&a":            "a",
		"hapikey%20=x&a":          "a",
		"hapikeys=x":              "hapikeys=x",
		"xhapikey=x":              "xhapikey=x",
		"a=hapikey":               "a=hapikey",
		"a=hapikey=x":             "a=hapikey=x",
		"%2568apikey=x":           "%2568apikey=x",
		"hapikey%zz=x":            "hapikey%zz=x",
	} {
		if got := (target{path: "/", query: query}).withoutDeveloperKey().query; got != want {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
	}
}
