package caddymodule

import (
	"bytes"
	"strings"
)

// minMasked is the length of a token below which it is not looked for: text
// that short is there by chance.
const minMasked = 8

// longestEscape is the length of a \u0043, the longest spelling of one
// character that is looked for.
const longestEscape = 6

// tokenMask knows the access tokens that a call has sent, and finds them in
// what comes back: as they are, or with characters that JSON or a URL spells
// as \/, \u0043 or %43. The zero value finds nothing.
type tokenMask struct {
	tokens [maxTries]string
	n      int
}

// add has a token looked for.
func (m *tokenMask) add(token string) {
	if len(token) < minMasked || m.n == len(m.tokens) {
		return
	}
	for _, known := range m.tokens[:m.n] {
		if known == token {
			return
		}
	}
	m.tokens[m.n] = token
	m.n++
}

// longest is the most bytes that a token can be spelled in.
func (m *tokenMask) longest() int {
	most := 0
	for _, token := range m.tokens[:m.n] {
		most = max(most, longestEscape*len(token))
	}
	return most
}

// inText reports whether a token is in text.
func (m *tokenMask) inText(text string) bool {
	for _, token := range m.tokens[:m.n] {
		if len(text) < len(token) {
			continue
		}
		if start, _ := findToken(text, token, strings.Index, strings.IndexByte); start >= 0 {
			return true
		}
	}
	return false
}

// cover puts asterisks in the place of all tokens in text, and returns how
// many there were.
func (m *tokenMask) cover(text []byte) (covered int) {
	for _, token := range m.tokens[:m.n] {
		for rest := text; ; covered++ {
			start, size := findToken(rest, token, indexText, bytes.IndexByte)
			if start < 0 {
				break
			}
			for i := range size {
				rest[start+i] = '*'
			}
			rest = rest[start+size:]
		}
	}
	return covered
}

// begun returns where in text a token begins that the text ends in the middle
// of, or its length.
func (m *tokenMask) begun(text []byte) int {
	first := len(text)
	for _, token := range m.tokens[:m.n] {
		window := text[max(0, len(text)-longestEscape*(len(token)-1)):]
		if bytes.IndexByte(window, '\\') < 0 && bytes.IndexByte(window, '%') < 0 {
			window = window[max(0, len(window)-len(token)+1):]
		}
		for i, c := range window {
			if c != token[0] && c != '\\' && c != '%' {
				continue
			}
			if _, outcome := matchToken(window[i:], token); outcome == matchBegun {
				first = min(first, len(text)-len(window)+i)
				break
			}
		}
	}
	return first
}

func indexText(text []byte, part string) int {
	// The conversion does not allocate for the length of a token's head.
	return bytes.Index(text, []byte(part))
}

// tokenHead is how much of a token is searched for at first. It is what
// package bytes finds fastest.
const tokenHead = 16

// findToken returns where the first spelling of a token is and how long, or
// -1. A match without an escape is one of the token's head; one with escapes
// is found by the first of them.
func findToken[T string | []byte](text T, token string, index func(T, string) int, indexByte func(T, byte) int) (start, size int) {
	start = -1
	if len(text) < len(token) {
		return start, 0 // no spelling is shorter
	}
	head := token[:min(tokenHead, len(token))]
	for from := 0; len(text)-from >= len(token); {
		i := index(text[from:], head)
		if i < 0 {
			break
		}
		if n, outcome := matchToken(text[from+i:], token); outcome == matchWhole {
			start, size = from+i, n
			break
		}
		from += i + 1
	}
	for _, mark := range [...]byte{'\\', '%'} {
		for from := 0; ; from++ {
			i := indexByte(text[from:], mark)
			if i < 0 {
				break
			}
			from += i
			if start >= 0 && from >= start {
				break
			}
			if begin, n := matchAround(text, from, token); begin >= 0 && (start < 0 || begin < start) {
				start, size = begin, n
				break
			}
		}
	}
	return start, size
}

// matchAround looks for a token whose first escaped character is the one at i.
func matchAround[T string | []byte](text T, i int, token string) (start, size int) {
	c, length := unescape(text[i:])
	if length < 2 {
		return -1, 0
	}
	for j := strings.IndexByte(token, c); j >= 0 && j <= i; {
		if string(text[i-j:i]) == token[:j] {
			if n, outcome := matchToken(text[i-j:], token); outcome == matchWhole {
				return i - j, n
			}
		}
		next := strings.IndexByte(token[j+1:], c)
		if next < 0 {
			break
		}
		j += 1 + next
	}
	return -1, 0
}

// matchOutcome is how far a text agrees with a token.
type matchOutcome int

const (
	matchNone  matchOutcome = iota
	matchBegun              // the text ends before the token does
	matchWhole
)

// matchToken compares the beginning of text with a token, and returns how
// many bytes the token takes there.
func matchToken[T string | []byte](text T, token string) (size int, outcome matchOutcome) {
	for j := range len(token) {
		if size == len(text) {
			return size, matchBegun
		}
		c, length := unescape(text[size:])
		switch {
		case length == 0:
			return size, matchBegun
		case c != token[j]:
			return 0, matchNone
		}
		size += length
	}
	return size, matchWhole
}

// unescape reads one ASCII character of text as JSON and URLs may spell it,
// and how many bytes that takes: 0 if the text ends within an escape.
func unescape[T string | []byte](text T) (c byte, length int) {
	switch {
	case text[0] == '%':
		return unescapeHex(text, "%")
	case text[0] != '\\':
		return text[0], 1
	case len(text) == 1:
		return 0, 0
	case text[1] == '/':
		return '/', 2
	}
	return unescapeHex(text, `\u00`)
}

// unescapeHex reads an escape of a prefix and two hex digits.
func unescapeHex[T string | []byte](text T, prefix string) (c byte, length int) {
	for i := range len(prefix) + 2 {
		switch {
		case i == len(text):
			return 0, 0
		case i < len(prefix) && text[i] != prefix[i], i >= len(prefix) && hexDigit(text[i]) < 0:
			return text[0], 1
		}
	}
	return byte(hexDigit(text[len(prefix)])<<4 | hexDigit(text[len(prefix)+1])), len(prefix) + 2
}

// hexDigit is the value of a hex digit, or -1.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
