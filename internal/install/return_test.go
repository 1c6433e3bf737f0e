package install

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestReturnToAllowList(t *testing.T) {
	t.Parallel()
	list, err := ParseReturnList([]string{
		"https://app.example.com/*",
		"https://*.tenants.example.net/settings",
		"https://exact.example.org/done",
		"https://bare.example.org",
		"https://port.example.org:8443/*",
		"HTTPS://Upper.Example.org:443/*",
		"https://find.example.org/search?q=*",
		"http://localhost:3000/*",
		"http://127.0.0.1:*/app/*",
		"http://[::1]:3000/*",
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		raw string
		// want is the normal form; empty where raw is refused.
		want string
	}{
		"path":               {"https://app.example.com/settings", "https://app.example.com/settings"},
		"no path":            {"https://app.example.com", "https://app.example.com/"},
		"query and fragment": {"https://app.example.com/a?b=c&d#/e", "https://app.example.com/a?b=c&d#/e"},
		"address in a query": {"https://app.example.com/a?next=https://evil.example", "https://app.example.com/a?next=https://evil.example"},
		"upper case":         {"HTTPS://APP.Example.COM/Settings", "https://app.example.com/Settings"},
		"default port":       {"https://app.example.com:443/a", "https://app.example.com/a"},
		"encoded":            {"https://app.example.com/a%2Fb%20c?d=%0A", "https://app.example.com/a%2Fb%20c?d=%0A"},
		"double slash":       {"https://app.example.com//a", "https://app.example.com//a"},
		"subdomain":          {"https://acme.tenants.example.net/settings", "https://acme.tenants.example.net/settings"},
		"deep subdomain":     {"https://a.b.tenants.example.net/settings", "https://a.b.tenants.example.net/settings"},
		"exact":              {"https://exact.example.org/done", "https://exact.example.org/done"},
		"bare":               {"https://bare.example.org/", "https://bare.example.org/"},
		"port":               {"https://port.example.org:8443/x", "https://port.example.org:8443/x"},
		"port with a zero":   {"https://port.example.org:08443/x", "https://port.example.org:8443/x"},
		"pattern in capital": {"https://upper.example.org/x", "https://upper.example.org/x"},
		"glob in a query":    {"https://find.example.org/search?q=x", "https://find.example.org/search?q=x"},
		"localhost":          {"http://localhost:3000/x", "http://localhost:3000/x"},
		"any port":           {"http://127.0.0.1:5123/app/x", "http://127.0.0.1:5123/app/x"},
		"IPv6 loopback":      {"http://[::1]:3000/x", "http://[::1]:3000/x"},

		"suffix of another host":      {"https://app.example.com.evil.example/", ""},
		"prefix of another host":      {"https://evil.example/app.example.com/", ""},
		"user name":                   {"https://app.example.com@evil.example/", ""},
		"user name on our host":       {"https://evil@app.example.com/", ""},
		"empty user name":             {"https://@app.example.com/", ""},
		"user and password":           {"https://app.example.com:x@evil.example/", ""},
		"backslash for @":             {`https://app.example.com\@evil.example/`, ""},
		"backslash for a slash":       {`https://evil.example\.app.example.com/`, ""},
		"backslash in the path":       {`https://app.example.com/\evil.example`, ""},
		"backslashes for slashes":     {`https:\\app.example.com/`, ""},
		"encoded slash in the host":   {"https://evil.example%2f.app.example.com/", ""},
		"encoded at in the host":      {"https://app.example.com%40evil.example/", ""},
		"encoded dot in the host":     {"https://app%2eexample.com/", ""},
		"fragment for a host":         {"https://evil.example#.app.example.com/", ""},
		"query for a host":            {"https://evil.example?.app.example.com/", ""},
		"other port":                  {"https://app.example.com:8443/", ""},
		"port for a host":             {"https://app.example.com:443.evil.example/", ""},
		"port too large":              {"https://port.example.org:74979/x", ""},
		"plain http":                  {"http://app.example.com/", ""},
		"script":                      {"javascript:alert(1)//https://app.example.com/", ""},
		"script with a host":          {"javascript://app.example.com/%0aalert(1)", ""},
		"data":                        {"data:text/html,x", ""},
		"relative":                    {"/settings", ""},
		"without a scheme":            {"//app.example.com/", ""},
		"only the scheme":             {"https:", ""},
		"one slash":                   {"https:/app.example.com/", ""},
		"three slashes":               {"https:///app.example.com/", ""},
		"no slashes":                  {"https:app.example.com/", ""},
		"empty":                       {"", ""},
		"leading space":               {" https://app.example.com/", ""},
		"tab in the scheme":           {"ht\ttps://app.example.com/", ""},
		"line end":                    {"https://app.example.com/\r\nSet-Cookie:%20a=b", ""},
		"line end in the host":        {"https://app.example.com\n.evil.example/", ""},
		"null":                        {"https://app.example.com/\x00", ""},
		"fullwidth dot":               {"https://app\uff0eexample.com/", ""},
		"fullwidth slash":             {"https://evil.example\uff0f.app.example.com/", ""},
		"umlaut":                      {"https://app.example.com/ä", ""},
		"dots out of the path":        {"http://127.0.0.1:1/app/../evil", ""},
		"encoded dots out of it":      {"http://127.0.0.1:1/app/%2e%2e/evil", ""},
		"dots by encoded slash":       {"http://127.0.0.1:1/app/..%2fevil", ""},
		"outside the path":            {"http://127.0.0.1:1/other", ""},
		"exact with a query":          {"https://exact.example.org/done?x", ""},
		"exact with more":             {"https://exact.example.org/done/x", ""},
		"bare with a path":            {"https://bare.example.org/x", ""},
		"host alone of a glob":        {"https://tenants.example.net/settings", ""},
		"host not at a dot":           {"https://eviltenants.example.net/settings", ""},
		"broken encoding":             {"https://app.example.com/%zz", ""},
		"zone":                        {"http://[::1%25x]:3000/x", ""},
		"trailing dot":                {"https://app.example.com./", ""},
		"too long":                    {"https://app.example.com/" + strings.Repeat("a", maxReturnTo), ""},
		"empty port":                  {"https://app.example.com:/a", "https://app.example.com/a"},
		"number for localhost":        {"http://2130706433:3000/", ""},
		"localhost under other names": {"http://localhost.evil.example:3000/", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := list.Check(tt.raw)
			if tt.want == "" {
				if err == nil {
					t.Errorf("check(%q) allows %q", tt.raw, got)
				} else if !strings.HasPrefix(err.Error(), "return_to ") {
					t.Errorf("error %q does not name the parameter", err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("check(%q) = %q, %v; want %q", tt.raw, got, err, tt.want)
			}
		})
	}
}

func TestAddressWith(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"https://app.example.com":          "https://app.example.com/?a=b",
		"https://app.example.com/x?":       "https://app.example.com/x?a=b",
		"https://app.example.com/x?y=z&z":  "https://app.example.com/x?y=z&z&a=b",
		"https://app.example.com/x#/y?z=1": "https://app.example.com/x?a=b#/y?z=1",
		"https://app.example.com/%2F?y=+z": "https://app.example.com/%2F?y=+z&a=b",

		// What an earlier install left there is replaced, however it is
		// written and wherever it stands.
		"https://app.example.com/x?a=old&y=z":         "https://app.example.com/x?y=z&a=b",
		"https://app.example.com/x?y=z&%61=old&a&a=#": "https://app.example.com/x?y=z&a=b",
		"https://app.example.com/x?c=old":             "https://app.example.com/x?a=b",
		"https://app.example.com/x?A=kept&ab=kept":    "https://app.example.com/x?A=kept&ab=kept&a=b",
		"https://app.example.com/x?%zz=kept":          "https://app.example.com/x?%zz=kept&a=b",
	}
	for raw, want := range tests {
		address, err := parseAddress(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := address.with([]string{"a", "c"}, "a", "b").String(); got != want {
			t.Errorf("%q with a=b is %q, want %q", raw, got, want)
		}
	}
}

func TestWithState(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"https://app.hubspot.com/x":                      "https://app.hubspot.com/x?state=S",
		"https://app.hubspot.com/x?a=b%20c&d":            "https://app.hubspot.com/x?a=b%20c&d&state=S",
		"https://app.hubspot.com/x?state=evil&a=b":       "https://app.hubspot.com/x?a=b&state=S",
		"https://app.hubspot.com/x?st%61te=evil&state=2": "https://app.hubspot.com/x?state=S",
		"https://app.hubspot.com/x?a=b#f":                "https://app.hubspot.com/x?a=b&state=S#f",
	}
	for raw, want := range tests {
		a, err := parseAddress(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.with([]string{"state"}, "state", "S").String(); got != want {
			t.Errorf("%q with a state is %q, want %q", raw, got, want)
		}
	}
}

func TestHubSpotAddress(t *testing.T) {
	t.Parallel()
	app := &hubapp.App{Name: "hbdev", Endpoints: hubspot.Endpoints{Authorize: "http://localhost:4000/oauth/authorize"}}
	good := []string{
		"https://app.hubspot.com/x?y=z", "https://app-eu1.hubspot.com/", "https://APP-NA2.hubspot.com/",
		"https://app.hubspot.com:443/", "http://localhost:4000/back",
	}
	bad := []string{
		"", "http://app.hubspot.com/", "https://app.hubspot.com.evil.example/", "https://app-eu1.hubspot.com@evil.example/",
		"https://evil.hubspot.com/", "https://app-eu1.evil.hubspot.com/", "https://appx.hubspot.com/", "https://app-.hubspot.com/",
		"https://app.hubspot.com:8443/", "https://xapp.hubspot.com/", `https://app.hubspot.com\@evil.example`,
		"http://localhost:4001/", "https://localhost:4000/", "//app.hubspot.com/", "https://evil.example/?https://app.hubspot.com/",
	}
	for _, raw := range slices.Concat(good, bad) {
		_, ok := hubspotAddress(app, raw)
		if ok != slices.Contains(good, raw) {
			t.Errorf("hubspotAddress(%q) = %v", raw, ok)
		}
	}
}

func TestReturnToPatternsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ pattern, want string }{
		"everything":         {"*", "whole address"},
		"every host":         {"https://*/", "hosts of others"},
		"every host of com":  {"https://*.com/*", "hosts of others"},
		"glob in the domain": {"https://app.ex*ple.com/*", "hosts of others"},
		"no slash":           {"https://app.example.com*", "hosts of others"},
		"query after host":   {"https://app.example.com?*", "needs a /"},
		"plain http":         {"http://app.example.com/*", "localhost only"},
		"http to every host": {"http://*/", "hosts of others"},
		"other scheme":       {"ftp://app.example.com/*", "https://"},
		"glob for a scheme":  {"*://app.example.com/*", "https://"},
		"no scheme":          {"app.example.com/*", "whole address"},
		"no host":            {"https:///x", "no host"},
		"user name":          {"https://me@app.example.com/*", "user name"},
		"any port":           {"https://app.example.com:*/", "localhost only"},
		"bad port":           {"https://app.example.com:99999/", "between 1 and 65535"},
		"dots":               {"https://app.example.com/a/../*", "never match"},
		"space":              {"https://app.example.com/a b", "never match"},
		"backslash":          {`https://app.example.com\*`, "never match"},
		"not ASCII":          {"https://äpp.example.com/*", "never match"},
		"broken encoding":    {"https://app.example.com/%zz", "never match"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseReturnList([]string{tt.pattern})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), strconv.Quote(tt.pattern)) {
				t.Errorf("ParseReturnList(%q) = %v, want an error with it and %q", tt.pattern, err, tt.want)
			}
		})
	}
}

func FuzzReturnTo(f *testing.F) {
	list, err := ParseReturnList([]string{"https://app.example.com/*"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://app.example.com/x?y#z")
	f.Add(`https://app.example.com\@evil.example/`)
	f.Add("https://app.example.com:443@evil.example/%2e%2e/")
	f.Fuzz(func(t *testing.T, raw string) {
		address, err := list.check(raw)
		if err != nil {
			return
		}
		text := address.with(returnParams, "hubspot", "connected").String()
		if !strings.HasPrefix(text, "https://app.example.com/") || unusual.MatchString(text) {
			t.Errorf("%q leads to %q", raw, text)
		}
	})
}
