package access_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

func TestReadings(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		// want are all readings, the first of them first; with some set,
		// only these among others.
		want []string
		some bool
	}{
		{name: "plain", path: "/crm/objects/2026-09/contacts", want: []string{"/crm/objects/2026-09/contacts"}},
		{name: "root", path: "/", want: []string{"/"}},
		{name: "empty", path: "", want: []string{"/"}},
		{name: "slash at the end", path: "/crm/", want: []string{"/crm/"}},
		{name: "sub-delimiters", path: "/a/!$&'()*+,=:@-_.~", want: []string{"/a/!$&'()*+,=:@-_.~"}},
		{name: "dots inside", path: "/files/a.b..c/v1.x.", want: []string{"/files/a.b..c/v1.x."}},
		{name: "hidden file", path: "/files/.a/...", want: []string{"/files/.a/..."}},
		{name: "long and plain", path: "/" + strings.Repeat("a", 20<<10), want: []string{"/" + strings.Repeat("a", 20<<10)}},
		{name: "space", path: "/a%20b", want: []string{"/a b"}},
		{name: "upper case stays", path: "/email/singleEmail/send", want: []string{"/email/singleEmail/send"}},
		{name: "UTF-8", path: "/a/%C3%A9", want: []string{"/a/é"}},
		{name: "e-mail address", path: "/contact/a%2Bb%40example.com", want: []string{"/contact/a+b@example.com"}},
		{name: "literal percent", path: "/a/100%25", want: []string{"/a/100%"}},
		{name: "encoded slash", path: "/o/a%2Fb", want: []string{"/o/a/b", "/o/a%2Fb"}},
		{name: "encoded backslash", path: "/o/a%5cb", want: []string{`/o/a\b`, "/o/a%5cb", "/o/a/b"}},
		{name: "backslash", path: `/o\a`, want: []string{`/o\a`, "/o/a"}},
		{name: "encoded twice", path: "/a%252e", want: []string{"/a%2e", "/a."}},
		{name: "double slash", path: "/a//b", want: []string{"/a//b", "/a/b"}},
		{name: "host", path: "//h/oauth", want: []string{"//h/oauth", "/oauth", "/h/oauth"}},
		{name: "host alone", path: "//h", want: []string{"//h", "/", "/h"}},
		{name: "parameters", path: "/a;x=1/b;y", want: []string{"/a;x=1/b;y", "/a/b"}},
		{name: "encoded semicolon", path: "/a%3Bx/b", want: []string{"/a;x/b", "/a/b"}},
		{name: "encoded question mark", path: "/a%3Fb/c", want: []string{"/a?b/c", "/a"}},
		{name: "encoded number sign", path: "/a%23b", want: []string{"/a#b", "/a"}},
		{name: "dot segments", path: "/a/b/../c/./d", want: []string{"/a/b/../c/./d", "/a/c/d"}},
		{name: "above the root", path: "/../../a", want: []string{"/../../a", "/a"}},
		{name: "dots at the end", path: "/a/b/..", want: []string{"/a/b/..", "/a/"}},
		{name: "dot at the end", path: "/a/.", want: []string{"/a/.", "/a/"}},
		{name: "encoded dots", path: "/a/%2e%2E/b", want: []string{"/a/../b", "/b"}},
		{name: "dots encoded twice", path: "/a/%252e%252e/b", want: []string{"/a/%2e%2e/b", "/a/../b", "/b"}},
		{name: "dots behind an encoded slash", path: "/crm%2F..%2Foauth", want: []string{"/crm/../oauth", "/crm%2F..%2Foauth", "/oauth"}},
		{name: "dots before decoding", path: "/a/b%2Fc/../d", want: []string{"/a/b/c/../d", "/a/b/d", "/a/d", "/a/b%2Fc/../d"}},
		{name: "dots with parameters", path: "/crm/..;/oauth", want: []string{"/crm/..;/oauth", "/oauth"}, some: true},
		{name: "dots behind a backslash", path: `/crm/..\oauth`, want: []string{`/crm/..\oauth`, "/oauth"}, some: true},
		{name: "empty segment and dots", path: "/crm/a//../b", want: []string{"/crm/a//../b", "/crm/a/b", "/crm/b"}, some: true},
		{name: "overlong slash", path: "/crm/..%c0%afoauth", want: []string{"/crm/..\xc0\xafoauth", "/crm/../oauth", "/oauth"}, some: true},
		{name: "overlong slash in three", path: "/crm%e0%80%afx", want: []string{"/crm\xe0\x80\xafx", "/crm/x", "/crmx"}},
		{name: "overlong dot in four", path: "/%f0%80%80%aex", want: []string{"/\xf0\x80\x80\xaex", "/.x", "/x"}},
		{name: "overlong letter", path: "/%c1%afauth", want: []string{"/\xc1\xafauth", "/oauth", "/auth"}},
		{name: "overlong percent", path: "/%c0%a541", want: []string{"/\xc0\xa541", "/%41", "/41", "/A"}},
		{name: "fullwidth", path: "/%EF%BD%8Fauth", want: []string{"/ｏauth", "/oauth"}},
		{name: "fullwidth slash", path: "/a%EF%BC%8Fb", want: []string{"/a／b", "/a/b"}},
		{name: "two dots in one", path: "/a/%E2%80%A5/b", want: []string{"/a/‥/b", "/a/../b", "/b"}},
		{name: "space at the end", path: "/a%20/b%20", want: []string{"/a /b ", "/a/b"}},
		{name: "space at the start", path: "/%E3%80%80a", want: []string{"/\u3000a", "/ a", "/a"}},
		{name: "space alone", path: "/a/%20/b", want: []string{"/a/ /b", "/a//b", "/a/b"}},
		{name: "plus at the ends", path: "/a+/+b/c+", want: []string{"/a+/+b/c+", "/a/b/c"}},
		{name: "plus inside", path: "/a+b", want: []string{"/a+b"}},
		{name: "soft hyphen", path: "/a%C2%ADb", want: []string{"/a\u00adb", "/ab", "/a-b"}},
		{name: "extension", path: "/a/b.json", want: []string{"/a/b.json"}},
		{name: "not UTF-8", path: "/oa%ffuth", want: []string{"/oa\xffuth", "/oauth"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := access.Readings(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 || got[0] != tc.want[0] {
				t.Errorf("Readings(%q) = %q, want %q first", tc.path, got, tc.want[0])
			}
			for _, want := range tc.want {
				if !slices.Contains(got, want) {
					t.Errorf("Readings(%q) = %q, without %q", tc.path, got, want)
				}
			}
			if !tc.some && len(got) != len(tc.want) {
				t.Errorf("Readings(%q) = %q, want only %q", tc.path, got, tc.want)
			}
		})
	}
}

func TestReadingsRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		want       error
	}{
		{"NUL", "/a%00b", access.ErrControlCharacter},
		{"line feed", "/a%0Ab", access.ErrControlCharacter},
		{"DEL", "/a%7f", access.ErrControlCharacter},
		{"raw tab", "/a\tb", access.ErrControlCharacter},
		{"raw DEL", "/a\x7f", access.ErrControlCharacter},
		{"encoded twice", "/a%250d", access.ErrControlCharacter},
		{"overlong NUL", "/a%c0%80", access.ErrControlCharacter},
		{"C1", "/a%C2%85", access.ErrControlCharacter},
		{"C1 of ISO 8859-1", "/a%85", access.ErrControlCharacter},
		{"C1 of ISO 8859-1 after a character", "/%C3%A9%9b", access.ErrControlCharacter},
		{"raw C1", "/a\x9b", access.ErrControlCharacter},
		{"relative", "crm", access.ErrBrokenPath},
		{"asterisk", "*", access.ErrBrokenPath},
		{"broken escape", "/a%zz", access.ErrBrokenPath},
		{"cut escape", "/a%2", access.ErrBrokenPath},
		{"percent alone", "/100%", access.ErrBrokenPath},
		{"long and odd", "/%20" + strings.Repeat("a", 16<<10), access.ErrAmbiguous},
		{"too many readings", "/%" + strings.Repeat("25", 200) + "41", access.ErrAmbiguous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := access.Readings(tc.path); !errors.Is(err, tc.want) {
				t.Errorf("Readings(%q) = %q, %v, want %v", tc.path, got, err, tc.want)
			}
		})
	}
}

func TestReadingsOfPlainPathDoNotAllocate(t *testing.T) {
	path := "/crm/objects/2026-09/contacts/" + strings.Repeat("1", 12)
	caller := callerWith(t, []string{"GET,POST /crm/*"}, []string{"* /crm/*/gdpr-delete"})
	n := testing.AllocsPerRun(100, func() {
		readings, err := access.Readings(path)
		if err != nil {
			t.Fatal(err)
		}
		blocked, err := access.Judge(readings, access.Blocked)
		if blocked || err != nil {
			t.Fatal(blocked, err)
		}
		if err := caller.Check("hbdev", "acme", "GET", readings); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzReadings(f *testing.F) {
	for _, path := range []string{
		"/crm/objects/2026-09/contacts", "/a%2Fb", "/crm/..;/oauth//x", "/%252e%252e%255cx;y/%c0%af",
		"//h/a?b#c", "/a/%e0%80%ae./b", "/%ff%c1%af", `/a\..\b`, "/%25%32%46", "/K%E2%84%AA",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		readings, err := access.Readings(path)
		again, errAgain := access.Readings(path)
		if !slices.Equal(readings, again) || (err == nil) != (errAgain == nil) {
			t.Fatalf("Readings(%q) = %q and then %q", path, readings, again)
		}
		if err != nil {
			if len(readings) > 0 {
				t.Errorf("Readings(%q) = %q with %v", path, readings, err)
			}
			return
		}
		if path == "" {
			path = "/"
		}
		plain, err := url.PathUnescape(path)
		if err != nil || readings[0] != plain {
			t.Errorf("Readings(%q)[0] = %q, want %q (%v)", path, readings[0], plain, err)
		}
		for i, reading := range readings {
			if !strings.HasPrefix(reading, "/") || slices.Contains(readings[:i], reading) {
				t.Errorf("Readings(%q)[%d] = %q: relative, or there twice", path, i, reading)
			}
			checkStable(t, path, reading, readings)
		}
	})
}

// checkStable checks that a server which passes a reading on, encoded anew,
// adds no reading that was not there before.
func checkStable(t *testing.T, path, reading string, readings []string) {
	t.Helper()
	escaped := strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(reading)
	more, err := access.Readings(escaped)
	if err != nil {
		t.Errorf("Readings(%q) has %q, whose readings fail: %v", path, reading, err)
	}
	for _, r := range more {
		if !slices.Contains(readings, r) {
			t.Errorf("Readings(%q) has %q, but not its reading %q", path, reading, r)
		}
	}
}
