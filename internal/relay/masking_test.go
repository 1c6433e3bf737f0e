package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// Tokens with the characters that are spelled in more than one way.
const (
	oddToken   = "CK+oa/9_-.=Zz0123456789"
	otherToken = "CCCKCCCK01234567"
)

func maskOf(tokens ...string) *tokenMask {
	m := new(tokenMask)
	for _, token := range tokens {
		m.add(token)
	}
	return m
}

// spellings matches a token however it is spelled, in another way than the
// mask does it.
func spellingsOf(token string) *regexp.Regexp {
	var pattern strings.Builder
	for i := range len(token) {
		hex := ""
		for _, digit := range fmt.Sprintf("%02x", token[i]) {
			hex += fmt.Sprintf("[%c%c]", digit, strings.ToUpper(string(digit))[0])
		}
		fmt.Fprintf(&pattern, `(?:%s|\\u00%s|%%%s`, regexp.QuoteMeta(token[i:i+1]), hex, hex)
		if token[i] == '/' {
			pattern.WriteString(`|\\/`)
		}
		pattern.WriteByte(')')
	}
	return regexp.MustCompile(pattern.String())
}

// coveredBy is what is expected of a mask.
func coveredBy(text string, tokens ...string) string {
	for _, token := range tokens {
		text = spellingsOf(token).ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("*", len(s)) })
	}
	return text
}

func TestTokensAreCovered(t *testing.T) {
	stars := strings.Repeat("*", len(oddToken))
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{`{"a":"b"}`, `{"a":"b"}`},
		{oddToken, stars},
		{`{"a":"` + oddToken + `"}`, `{"a":"` + stars + `"}`},
		{oddToken + oddToken + "C" + oddToken, stars + stars + "C" + stars},
		{"CK+oa/CK+oa/9_-.=Zz0123456789", "CK+oa/" + stars},
		{strings.ReplaceAll(oddToken, "/", `\/`), stars + "*"},
		{strings.ReplaceAll(oddToken, "+", `\u002b`), stars + "*****"},
		{strings.ReplaceAll(oddToken, "=", `\u003D`), stars + "*****"},
		{strings.ReplaceAll(oddToken, "C", `\u0043`), stars + "*****"},
		{strings.NewReplacer("+", "%2B", "/", "%2f", "=", "%3D").Replace(oddToken), stars + "******"},
		{strings.ToLower(oddToken), strings.ToLower(oddToken)},
		{oddToken[:len(oddToken)-1], oddToken[:len(oddToken)-1]},
		{oddToken[1:], oddToken[1:]},
		{`\u0043K+oa\u00`, `\u0043K+oa\u00`},
		{`\`, `\`}, {`%`, `%`}, {`\u`, `\u`}, {`C\`, `C\`},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "with EOF": iotest.DataErrReader,
		} {
			var counted bodyCount
			got, err := io.ReadAll(&scrubbedReader{inner: wrap(strings.NewReader(tc.text)), mask: maskOf(oddToken), found: &counted})
			if err != nil || string(got) != tc.want {
				t.Errorf("%s: %q becomes %q, %v; want %q", name, tc.text, got, err, tc.want)
			}
			if (counted > 0) != (tc.want != tc.text) {
				t.Errorf("%s: %q: counted %d", name, tc.text, counted)
			}
		}
		if got := maskOf(oddToken).inText(tc.text); got != (tc.want != tc.text) {
			t.Errorf("inText(%q) = %v", tc.text, got)
		}
	}
}

func TestShortTextsAreNoTokens(t *testing.T) {
	m := maskOf("", "short")
	if m.n != 0 || m.inText("a short text") {
		t.Error("a text that is there by chance is taken for a token")
	}
	if m := maskOf(oddToken, oddToken); m.n != 1 {
		t.Errorf("the same token counts %d times", m.n)
	}
}

// What cannot be the beginning of a token is passed on before more comes.
func TestScrubbingHoldsNothingBack(t *testing.T) {
	for _, tc := range []struct{ chunk, passed string }{
		{`{"results":[`, `{"results":[`},
		{`{"name":"CRM C`, `{"name":"CRM `},
		{`{"name":"` + oddToken[:20], `{"name":"`},
		{`{"name":"` + oddToken[1:20], `{"name":"` + oddToken[1:20]},
		{`{"name":"` + oddToken, `{"name":"` + strings.Repeat("*", len(oddToken))},
		{`{"name":"a\`, `{"name":"a`},
		{`{"name":"a\n`, `{"name":"a\n`},
	} {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, tc.chunk) }()
		scrubbed := &scrubbedReader{inner: r, mask: maskOf(oddToken), found: new(bodyCount)}
		buffer := make([]byte, 32<<10)
		n, err := scrubbed.Read(buffer)
		if err != nil || string(buffer[:n]) != tc.passed {
			t.Errorf("of %q passes %q, %v; want %q", tc.chunk, buffer[:n], err, tc.passed)
		}
		_ = r.Close()
	}
}

func TestScrubbingBrokenBody(t *testing.T) {
	text := `{"name":"` + oddToken[:9]
	got, err := io.ReadAll(&scrubbedReader{inner: io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)), mask: maskOf(oddToken), found: new(bodyCount)})
	if string(got) != text || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestScrubbingDoesNotAllocate(t *testing.T) {
	m := maskOf(testToken, oddToken)
	body := []byte(strings.Repeat(`{"id":"1","html":"\u003cp class=\"C\"\/\u003e C%20C","token":"`+oddToken+`"},`, 200))
	if n := testing.AllocsPerRun(100, func() {
		m.cover(body)
		m.begun(body)
		if m.inText("https://a.nel.cloudflare.com/report/v4?s=a%2Bb%2Fc") {
			t.Fatal("found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzScrubbedReader compares what comes out of a body, whatever the chunks,
// with what a regular expression makes of it as a whole.
func FuzzScrubbedReader(f *testing.F) {
	f.Add(`{"a":"T","b":"\u0043K+oa\/9_"}`, []byte{3, 1, 7})
	f.Add(`TTCTU%43%4BU\`, []byte{1})
	f.Add(`CCCKCCCKCCCK01234567 CCCK`, []byte{})
	f.Fuzz(func(t *testing.T, text string, sizes []byte) {
		// T and U stand for whole tokens, which a fuzzer would not guess.
		text = strings.NewReplacer("T", oddToken, "U", otherToken).Replace(text)
		r := &scrubbedReader{inner: &chunks{text, sizes}, mask: maskOf(oddToken, otherToken), found: new(bodyCount)}
		got, err := io.ReadAll(iotest.HalfReader(r))
		if err != nil {
			t.Fatal(err)
		}
		if want := coveredBy(text, oddToken, otherToken); string(got) != want {
			t.Errorf("%q in chunks of %v becomes\n%q, want\n%q", text, sizes, got, want)
		}
	})
}

// chunks reads a text in pieces of given sizes, over and over.
type chunks struct {
	rest  string
	sizes []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	size := len(c.rest)
	if len(c.sizes) > 0 {
		size = min(size, 1+int(c.sizes[0]))
		c.sizes = append(c.sizes[1:], c.sizes[0])
	}
	n := copy(p, c.rest[:size])
	c.rest = c.rest[n:]
	return n, nil
}

func BenchmarkScrub(b *testing.B) {
	html := `{"id":"1","html":"\u003cp class=\"Contact\"\/\u003e Customer CRM"},`
	for name, unit := range map[string]string{"plain": `{"id":"1","properties":{"email":"a@example.com"}},`, "escapes": html} {
		b.Run(name, func(b *testing.B) {
			body := bytes.Repeat([]byte(unit), 32<<10/len(unit))
			m := maskOf(testToken)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				m.cover(body)
				m.begun(body)
			}
		})
	}
}
