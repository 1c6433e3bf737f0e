package access_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const testKey = "a-key-of-more-than-20-characters"

// callerWith makes a caller with rules such as "GET,POST /crm/*".
func callerWith(t testing.TB, allow, deny []string) *access.Caller {
	t.Helper()
	caller, err := access.NewCaller(access.CallerConfig{
		Name: "crm-sync", Keys: []secret.Text{secret.New(testKey)},
		Allow: parseRules(t, allow), Deny: parseRules(t, deny),
	})
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func parseRules(t testing.TB, texts []string) []access.Rule {
	t.Helper()
	var rules []access.Rule
	for _, text := range texts {
		methods, glob, _ := strings.Cut(text, " ")
		rule, err := access.ParseRule(methods, glob)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	return rules
}

// verdicts of a test table.
const (
	allowed   = "allowed"
	ambiguous = "ambiguous"
)

func verdictOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return allowed
	}
	if errors.Is(err, access.ErrAmbiguous) {
		return ambiguous
	}
	denial, ok := errors.AsType[*access.Denial](err)
	if !ok {
		t.Fatalf("error is neither a denial nor ambiguous: %v", err)
	}
	return string(denial.Dimension)
}

func TestCheckPath(t *testing.T) {
	crm := []string{"GET,POST /crm/*"}
	gdpr := []string{"* /crm/*/gdpr-delete"}
	for _, tc := range []struct {
		name         string
		allow, deny  []string
		method, path string
		want         string
	}{
		{"no rules", nil, nil, "PURGE", "/any/thing;x//..", allowed},
		{"allowed", crm, nil, "GET", "/crm/objects", allowed},
		{"second method", crm, nil, "POST", "/crm/objects", allowed},
		{"other method", crm, nil, "DELETE", "/crm/objects", "method"},
		{"other path", crm, nil, "GET", "/files/x", "path"},
		{"prefix without slash", crm, nil, "GET", "/crm", "path"},
		{"method of another rule", []string{"GET /crm/*", "DELETE /files/*"}, nil, "DELETE", "/crm/x", "method"},
		{"every method", []string{"* /crm/*"}, nil, "PURGE", "/crm/x", allowed},
		{"deny alone", nil, gdpr, "POST", "/files/x", allowed},
		{"deny wins", crm, gdpr, "POST", "/crm/objects/contacts/gdpr-delete", "path"},
		{"deny by method", nil, []string{"DELETE *"}, "DELETE", "/crm/x", "method"},
		{"deny another method", nil, []string{"DELETE *"}, "GET", "/crm/x", allowed},
		{"deny in odd case", nil, gdpr, "POST", "/CRM/objects/GDPR-Delete", "path"},
		{"deny with parameters", nil, gdpr, "POST", "/crm/objects/gdpr-delete;v=1", "path"},
		{"deny with parameters inside", nil, gdpr, "POST", "/crm;a/objects;b/gdpr-delete;v=1", "path"},
		{"deny with encoded parameters", nil, gdpr, "POST", "/crm/objects/gdpr-delete%3Bv=1", "path"},
		{"deny with a slash at the end", nil, gdpr, "POST", "/crm/objects/gdpr-delete/", "path"},
		{"a slash at the end", crm, nil, "GET", "/crm/objects/", allowed},
		{"only the slash at the end allows", crm, nil, "GET", "/crm/", ambiguous},
		{"a slash at the end that a rule has", []string{"GET /crm/*", "GET /crm"}, nil, "GET", "/crm/", allowed},
		{"the root", []string{"GET /"}, nil, "GET", "/", allowed},
		{"deny with slash and parameters", nil, gdpr, "POST", "/crm/objects/gdpr-delete;v/;w", "path"},
		{"deny with an encoded letter", nil, gdpr, "POST", "/crm/objects/gdpr-%64elete", "path"},
		{"deny with a letter encoded twice", nil, gdpr, "POST", "/crm/objects/gdpr-%2564elete", ambiguous},
		{"deny behind a double slash", nil, gdpr, "POST", "/crm/objects//gdpr-delete", "path"},
		{"deny with an extension", nil, gdpr, "POST", "/crm/objects/gdpr-delete.json", "path"},
		{"deny with any extension", nil, gdpr, "POST", "/crm/objects/gdpr-delete.x-1", "path"},
		{"deny with extensions and a slash", nil, gdpr, "POST", "/crm/objects/GDPR-delete.a.JSON/", "path"},
		{"deny with an extension and parameters", nil, gdpr, "POST", "/crm/objects/gdpr-delete.json;v=1", "path"},
		{"deny with an extension after a slash", nil, gdpr, "POST", "/crm/objects/gdpr-delete/.json", "path"},
		{"deny with an extension in the middle of others", nil, []string{"* /crm/*delete"}, "POST", "/crm/a.delete.b.c", "path"},
		{"deny with an extension and a space", nil, gdpr, "POST", "/crm/objects/gdpr-delete%20.json", "path"},
		{"deny with more dots than are looked at", nil, gdpr, "POST", "/crm/x" + strings.Repeat(".x", 20), ambiguous},
		{"deny with a dot at the end", nil, gdpr, "POST", "/crm/objects/gdpr-delete.", "path"},
		{"deny with dots at the ends", nil, []string{"* /crm/secret/*"}, "POST", "/crm../secret./x", "path"},
		{"deny with a space at the end", nil, gdpr, "POST", "/crm/objects/gdpr-delete%20", ambiguous},
		{"deny with a space inside", nil, gdpr, "POST", "/crm/objects/%20gdpr-delete/", ambiguous},
		{"deny with a plus", nil, gdpr, "POST", "/crm/objects/gdpr-delete+", ambiguous},
		{"deny with a no-break space", nil, gdpr, "POST", "/crm/objects/gdpr-delete%C2%A0", ambiguous},
		{"deny with a no-break space of ISO 8859-1", nil, gdpr, "POST", "/crm/objects/gdpr-delete%A0", ambiguous},
		{"deny with an ideographic space", nil, gdpr, "POST", "/crm/objects/gdpr-delete%E3%80%80", ambiguous},
		{"deny with an Ogham space", nil, gdpr, "POST", "/crm/objects/gdpr-delete%E1%9A%80", ambiguous},
		{"deny with a line separator", nil, gdpr, "POST", "/crm/objects/gdpr-delete%E2%80%A8", ambiguous},
		{"deny with a soft hyphen", nil, gdpr, "POST", "/crm/objects/gdpr-de%C2%ADlete", ambiguous},
		{"deny with a soft hyphen for its hyphen", nil, gdpr, "POST", "/crm/objects/gdpr%C2%ADdelete", ambiguous},
		{"deny with a soft hyphen of ISO 8859-1 for its hyphen", nil, gdpr, "POST", "/crm/objects/gdpr%ADdelete", ambiguous},
		{"deny with another dash", nil, gdpr, "POST", "/crm/objects/gdpr%E2%80%90delete", ambiguous},
		{"deny with a minus", nil, gdpr, "POST", "/crm/objects/gdpr%E2%88%92delete", ambiguous},
		{"deny with a soft hyphen of ISO 8859-1", nil, gdpr, "POST", "/crm/objects/gdpr-de%ADlete", ambiguous},
		{"deny with a zero-width space", nil, gdpr, "POST", "/crm/objects/gdpr-%E2%80%8Bdelete", ambiguous},
		{"deny with a variation selector", nil, gdpr, "POST", "/crm/objects/gdpr-delete%EF%B8%8F", ambiguous},
		{"deny with a byte order mark", nil, gdpr, "POST", "/crm/objects/%EF%BB%BFgdpr-delete", ambiguous},
		{"deny with a Hangul filler", nil, gdpr, "POST", "/crm/objects/gdpr-delete%E3%85%A4", ambiguous},
		{"deny with a soft hyphen among the dots", nil, gdpr, "POST", "/crm/x/.%C2%AD./gdpr-delete", ambiguous},
		{"deny with a space after the dots", nil, []string{"* /cms/*"}, "POST", "/crm/..%20/cms/x", ambiguous},
		{"deny with a sharp s", nil, []string{"* /crm/*/associations"}, "POST", "/crm/a/a%C3%9Fociations", ambiguous},
		{"a space at the end of what is allowed", crm, nil, "GET", "/crm/a%20", allowed},
		{"a space that makes what is allowed", []string{"GET /crm/a"}, nil, "GET", "/crm/a%20", ambiguous},
		{"a space after the slash", crm, nil, "GET", "/crm/%20", ambiguous},
		{"a file", []string{"GET /cms/*"}, gdpr, "GET", "/cms/v3/source-code/draft/content/a.module/fields.json", allowed},
		{"a hidden file", []string{"GET /cms/*"}, gdpr, "GET", "/cms/v3/source-code/draft/content/.gitignore", allowed},
		{"an e-mail address", crm, gdpr, "GET", "/crm/objects/contacts/bob@example.com", allowed},
		{"a file that a rule names", []string{"GET /cms/*.json"}, nil, "GET", "/cms/x.json", allowed},
		{"a path that a rule names with its extension", []string{"GET /blog/v1/list.json"}, nil, "GET", "/blog/v1/list.json", allowed},
		{"an extension of what is not allowed", []string{"GET /crm/*", "GET /files/a.*"}, nil, "GET", "/files/a", "path"},
		{"only the extension allows", []string{"GET /crm/*n"}, nil, "GET", "/crm/x.json", ambiguous},
		{"only an extension between allows", []string{"GET /crm/*x*y"}, nil, "GET", "/crm/x.a.y", ambiguous},
		{"only the dot at the end allows", []string{"GET /crm/a*/b"}, nil, "GET", "/crm/a/c./b", allowed},
		{"a segment of dots allows", []string{"GET /crm/*/b"}, nil, "GET", "/crm/.../b", ambiguous},
		{"allow with more dots than are looked at", crm, nil, "GET", "/crm/x" + strings.Repeat(".x", 20), ambiguous},
		{"deny as one of two readings", nil, gdpr, "POST", "/files/../crm/objects/gdpr-delete", ambiguous},
		{"deny before an encoded query", nil, gdpr, "POST", "/crm/objects/gdpr-delete%3F", ambiguous},
		{"deny behind an encoded slash", nil, gdpr, "POST", "/crm/objects%2Fgdpr-delete", ambiguous},
		{"deny with a Kelvin sign", nil, []string{"* /crm/links"}, "POST", "/crm/lin%E2%84%AAs", "path"},
		{"deny in a method's odd case", nil, []string{"DELETE *"}, "delete", "/crm/x", ambiguous},
		{"allow in a method's odd case", crm, nil, "get", "/crm/x", ambiguous},
		{"allow in odd case", crm, nil, "GET", "/CRM/objects", ambiguous},
		{"allow as written", []string{"POST /email/v1/singleEmail/send"}, nil, "POST", "/email/v1/singleEmail/send", allowed},
		{"allow in another case", []string{"POST /email/v1/singleEmail/send"}, nil, "POST", "/email/v1/singleemail/send", ambiguous},
		{"upper case in an id", crm, nil, "GET", "/crm/objects/AbC", allowed},
		{"encoded slash in an id", crm, nil, "GET", "/crm/objects/a%2Fb", allowed},
		{"dots that leave", crm, nil, "GET", "/crm/../files/x", ambiguous},
		{"dots that stay", crm, nil, "GET", "/crm/a/../b", allowed},
		{"dots outside", crm, nil, "GET", "/files/../settings/x", "path"},
		{"dots that enter", crm, nil, "GET", "/files/../crm/x", ambiguous},
		{"space in a glob", []string{"GET /files/a b/*"}, nil, "GET", "/files/a%20b/c", allowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			readings, err := access.Readings(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			err = callerWith(t, tc.allow, tc.deny).CheckPath(tc.method, readings)
			if got := verdictOf(t, err); got != tc.want {
				t.Errorf("%s %s: %s (%v), want %s", tc.method, tc.path, got, err, tc.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	caller, err := access.NewCaller(access.CallerConfig{
		Name: "crm-sync", Keys: []secret.Text{secret.New(testKey)},
		Apps: []string{"hbdev", "test-*"}, Users: []string{"acme", "globex-*"},
		Allow: parseRules(t, []string{"GET /crm/*"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, app, user, method, path, want string }{
		{"all right", "hbdev", "acme", "GET", "/crm/x", allowed},
		{"app in another case", "HBDev", "acme", "GET", "/crm/x", allowed},
		{"app by glob", "TEST-1", "globex-1", "GET", "/crm/x", allowed},
		{"other app", "prod", "acme", "GET", "/crm/x", "app"},
		{"other user", "hbdev", "initech", "GET", "/crm/x", "user"},
		{"user in another case", "hbdev", "Acme", "GET", "/crm/x", "user"},
		{"app before user", "prod", "initech", "GET", "/x", "app"},
		{"no user", "hbdev", "", "GET", "/crm/x", allowed},
		{"method", "hbdev", "acme", "POST", "/crm/x", "method"},
		{"path", "hbdev", "acme", "GET", "/files", "path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := caller.Check(tc.app, tc.user, tc.method, []string{tc.path})
			if got := verdictOf(t, err); got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "initech") || strings.Contains(err.Error(), "/files")) {
				t.Errorf("the error holds the user or the path: %v", err)
			}
		})
	}
	if got := caller.UnmatchedApps([]string{"HBDEV", "other"}); len(got) != 1 || got[0] != "test-*" {
		t.Errorf("UnmatchedApps = %q, want test-*", got)
	}
	if err := caller.CheckPath("GET", nil); !errors.Is(err, access.ErrAmbiguous) {
		t.Errorf("a request without readings: %v, want ErrAmbiguous", err)
	}
}

func TestDenialNamesTheRule(t *testing.T) {
	caller := callerWith(t, nil, []string{"* /files/*", "DELETE,PUT /crm/*"})
	err := caller.CheckPath("DELETE", []string{"/crm/x"})
	want := `caller "crm-sync" may not use this method on this path (denied by "DELETE,PUT /crm/*")`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestZeroAndOpenCaller(t *testing.T) {
	var zero access.Caller
	if zero.MayApp("hbdev") || zero.MayUser("acme") || zero.CheckPath("GET", []string{"/"}) == nil {
		t.Error("the zero caller may do something")
	}
	if err := access.Open().Check("hbdev", "acme", "GET", []string{"/x"}); err != nil {
		t.Errorf("the open caller is refused: %v", err)
	}
	if name := access.Open().Name(); name != "" {
		t.Errorf("the open caller is named %q", name)
	}
}

func TestBlocked(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"/oauth/v1/token", "blocked"},
		{"/oauth/2026-09/token/introspect", "blocked"},
		{"/oauth/v1/access-tokens/abc", "blocked"},
		{"/oauth/v2/private-apps/get/access-token-info", "blocked"},
		{"/oauth", "blocked"},
		{"/oauth/", "blocked"},
		{"/OAuth/v1/token", "blocked"},
		{"/oauth;x/v1/token", "blocked"},
		{"/%6fauth/v1/token", "blocked"},
		{"/oauth%3Bx/v1/token", "blocked"},
		{"/oauth/../oauth/x", "blocked"},
		{"/localdevauth/v1/auth/refresh", "blocked"},
		{"/LocalDevAuth/v1/auth/refresh", "blocked"},
		{"/oauth.json", "blocked"},
		{"/oauth.", "blocked"},
		{"/oauth./v1/token", "blocked"},
		{"/.../oauth/v1/token", "blocked"},
		{"/oauth/v1/token.json", "blocked"},
		{"/oauth.a.b/", "blocked"},
		{"/email/public/v1/smtpapi.xml", "blocked"},
		{"/oauth%20/v1/token", ambiguous},
		{"/oauth+/v1/token", ambiguous},
		{"/+/oauth/v1/token", ambiguous},
		{"/%20/oauth/v1/token", ambiguous},
		{"/oa%C2%ADuth/v1/token", ambiguous},
		{"/crm/.%E2%81%A0./oauth/v1/token", ambiguous},
		{"/crm/..%20/oauth/v1/token", ambiguous},
		{"/crm/..+/oauth/v1/token", ambiguous},
		{"/oauth/../crm/x", ambiguous},
		{"/crm/../oauth/v1/token", ambiguous},
		{"/crm/..%2foauth/v1/token", ambiguous},
		{"/crm/%252e%252e/oauth/v1/token", ambiguous},
		{"/crm/..;/oauth/v1/token", ambiguous},
		{"//oauth/v1/token", ambiguous},
		{"//x/oauth/v1/token", ambiguous},
		{"/.//oauth/v1/token", ambiguous},
		{`/\oauth/v1/token`, ambiguous},
		{"/%256fauth/v1/token", ambiguous},
		{"/oauth%2fv1/token", ambiguous},
		{"/oauth%3F/v1/token", ambiguous},
		{"/%c1%afauth/v1/token", ambiguous},
		{"/oau%ffth/v1/token", ambiguous},
		{"/oauthx/v1", "open"},
		{"/crm/oauth/x", "open"},
		{"/crm/objects/a%2Foauth", "open"},
		{"/appinstalls/2026-09/external-install", "open"},
		{"/", "open"},
	} {
		readings, err := access.Readings(tc.path)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		blocked, err := access.Judge(readings, access.Blocked)
		got := "open"
		switch {
		case errors.Is(err, access.ErrAmbiguous):
			got = ambiguous
		case blocked:
			got = "blocked"
		}
		if got != tc.want {
			t.Errorf("%s (%q): %s, want %s", tc.path, readings, got, tc.want)
		}
	}
}

func TestJudge(t *testing.T) {
	length := func(path string) int { return len(path) }
	if n, err := access.Judge([]string{"/a", "/b"}, length); n != 2 || err != nil {
		t.Errorf("Judge = %d, %v, want 2", n, err)
	}
	if n, err := access.Judge([]string{"/a", "/bc"}, length); n != 0 || !errors.Is(err, access.ErrAmbiguous) {
		t.Errorf("Judge = %d, %v, want ErrAmbiguous", n, err)
	}
	if _, err := access.Judge(nil, length); !errors.Is(err, access.ErrAmbiguous) {
		t.Errorf("Judge of nothing = %v, want ErrAmbiguous", err)
	}
}
