package relay

import (
	"bytes"
	"strings"
)

// minMasked is the length of a token below which it is not looked for: text
// that short is there by chance.
const minMasked = 8

// mask knows the access tokens that a call has sent, and finds them in what
// comes back. It looks for the text itself: HubSpot's tokens are made of the
// characters of base64url, which neither JSON nor a URL has to escape. The zero
// value finds nothing.
type mask struct {
	tokens [maxTries]string
	n      int
}

// add has a token looked for.
func (m *mask) add(token string) {
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

// longest is the length of the longest token.
func (m *mask) longest() int {
	most := 0
	for _, token := range m.tokens[:m.n] {
		most = max(most, len(token))
	}
	return most
}

// inText reports whether a token is in text.
func (m *mask) inText(text string) bool {
	for _, token := range m.tokens[:m.n] {
		if len(text) >= len(token) && strings.Contains(text, token) {
			return true
		}
	}
	return false
}

// cover puts asterisks in the place of all tokens in text, and returns how
// many there were.
func (m *mask) cover(text []byte) (covered int) {
	for _, token := range m.tokens[:m.n] {
		for rest := text; ; covered++ {
			// The conversion does not allocate.
			i := bytes.Index(rest, []byte(token))
			if i < 0 {
				break
			}
			copy(rest[i:i+len(token)], strings.Repeat("*", len(token)))
			rest = rest[i+len(token):]
		}
	}
	return covered
}

// begun returns where in text a token begins that the text ends in the middle
// of, or its length.
func (m *mask) begun(text []byte) int {
	first := len(text)
	for _, token := range m.tokens[:m.n] {
		for i := max(0, len(text)-len(token)+1); i < first; i++ {
			j := bytes.IndexByte(text[i:first], token[0])
			if j < 0 {
				break
			}
			if i += j; strings.HasPrefix(token, string(text[i:])) {
				first = i
			}
		}
	}
	return first
}
