package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// fold maps all spellings of s that a case-insensitive server takes for the
// same to one spelling. It returns s itself, without an allocation, for ASCII
// text in lower case. Bytes that are not UTF-8 stay as they are.
func fold(s string) string {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf && s[i]-'A' > 'Z'-'A' {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for i < len(s) {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b.WriteByte(s[i])
		} else {
			b.WriteRune(foldRune(r))
		}
		i += size
	}
	return b.String()
}

// foldRune returns the representative of the runes that differ from r in case
// only (Unicode simple case folding), an ASCII lower-case letter where there
// is one.
func foldRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return unicode.ToLower(r)
	case r == 'İ' || r == 'ı':
		// Java's case-insensitive comparison takes both for an i, and
		// HubSpot's servers are written in Java.
		return 'i'
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least < utf8.RuneSelf {
		return unicode.ToLower(least)
	}
	return least
}
