package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		exact, folded bool
	}{
		{"*", "", true, true},
		{"*", "anything/at all", true, true},
		{"**", "x", true, true},
		{"acme", "acme", true, true},
		{"acme", "ACME", false, true},
		{"acme", "acme ", false, false},
		{"globex-*", "globex-", true, true},
		{"globex-*", "globex-eu/1", true, true},
		{"globex-*", "globex", false, false},
		{"/crm/*", "/crm/", true, true},
		{"/crm/*", "/crm", false, false},
		{"/crm/*/gdpr-delete", "/crm/objects/contacts/gdpr-delete", true, true},
		{"/crm/*/gdpr-delete", "/crm/gdpr-delete", false, false},
		{"/crm/*/gdpr-delete", "/crm/a/GDPR-Delete", false, true},
		{"a*b*c", "abc", true, true},
		{"a*b*c", "aXbYbZc", true, true},
		{"a*b*c", "acb", false, false},
		{"ab*ba", "aba", false, false},
		{"*aab", "aaab", true, true},
		{"*a*a*", "a", false, false},
		{"*a*a*", "aa", true, true},
		{"straße*", "STRAßE 1", false, true},
		{"/crm/links", "/crm/lin\u212as", false, true}, // the Kelvin sign
		{"/crm/links", "/crm/link\u017f", false, true}, // the long s
		{"/crm/lists", "/crm/L\u0130STS", false, true}, // the dotted capital I
		{"a*", "a\xff", true, true},
		{"é", "É", false, true},
		{"\ufffd", "\xff", false, false},
	} {
		g, err := access.CompileGlob(tc.pattern)
		if err != nil {
			t.Errorf("CompileGlob(%q): %v", tc.pattern, err)
			continue
		}
		if got := g.Match(tc.text); got != tc.exact {
			t.Errorf("%q Match(%q) = %v, want %v", tc.pattern, tc.text, got, tc.exact)
		}
		if got := g.MatchFold(tc.text); got != tc.folded {
			t.Errorf("%q MatchFold(%q) = %v, want %v", tc.pattern, tc.text, got, tc.folded)
		}
		if g.String() != tc.pattern {
			t.Errorf("String() = %q, want %q", g, tc.pattern)
		}
	}
}

func TestCompileGlobRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		"":         "must not be empty",
		"a\x00":    "control character",
		"a\x7fb":   "control character",
		"a\u0085b": "control character",
		"a\n*":     "control character",
		"a\xff":    "not valid UTF-8",
	} {
		if _, err := access.CompileGlob(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CompileGlob(%q) = %v, want an error with %q", pattern, err, want)
		}
	}
}

// A backtracking matcher would take longer than the universe has lasted.
func TestGlobTakesLinearTime(t *testing.T) {
	g, err := access.CompileGlob(strings.Repeat("a*", 200) + "b")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("a", 100_000)
	start := time.Now()
	if g.Match(text) || g.MatchFold(strings.ToUpper(text)) {
		t.Error("matched")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"*", "a*b*c", "/crm/*/gdpr-delete", "ab*ba", "*aab*", "É*ß"} {
		for _, text := range []string{"", "abc", "aXbYbZc", "/CRM/x/gdpr-delete", "aba", "aaab", "é\u212aß"} {
			f.Add(pattern, text)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		g, err := access.CompileGlob(pattern)
		if err != nil {
			return
		}
		want := reference([]byte(pattern), []byte(text), '*', func(a, b byte) bool { return a == b })
		if got := g.Match(text); got != want {
			t.Errorf("%q Match(%q) = %v, want %v", pattern, text, got, want)
		}
		if want && !g.MatchFold(text) {
			t.Errorf("%q matches %q exactly, but not without case", pattern, text)
		}
		if !utf8.ValidString(text) || strings.ContainsAny(pattern+text, "\u0130\u0131") {
			return
		}
		want = reference([]rune(pattern), []rune(text), '*', func(a, b rune) bool {
			return strings.EqualFold(string(a), string(b))
		})
		if got := g.MatchFold(text); got != want {
			t.Errorf("%q MatchFold(%q) = %v, want %v", pattern, text, got, want)
		}
	})
}

// reference matches by dynamic programming: row[j] says whether the pattern so
// far matches the first j characters of the text.
func reference[C comparable](pattern, text []C, star C, equal func(a, b C) bool) bool {
	row := make([]bool, len(text)+1)
	row[0] = true
	for _, p := range pattern {
		next := make([]bool, len(row))
		for j := range row {
			switch {
			case p == star:
				next[j] = slices.Contains(row[:j+1], true)
			case j > 0:
				next[j] = row[j-1] && equal(p, text[j-1])
			}
		}
		row = next
	}
	return row[len(text)]
}
