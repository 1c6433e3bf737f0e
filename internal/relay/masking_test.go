package relay

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Tokens of the characters that there are in HubSpot's, which are those of
// base64url.
const (
	testToken  = "CTestAccessToken0000000000000001"
	oddToken   = "CK-oa_9_-A_Zz0123456789"
	otherToken = "CCCKCCCK01234567"
)

func maskOf(tokens ...string) *mask {
	m := new(mask)
	for _, token := range tokens {
		m.add(token)
	}
	return m
}

// coveredBy is what is expected of a mask.
func coveredBy(text string, tokens ...string) string {
	for _, token := range tokens {
		text = strings.ReplaceAll(text, token, strings.Repeat("*", len(token)))
	}
	return text
}

func TestTokensAreCovered(t *testing.T) {
	t.Parallel()
	stars := strings.Repeat("*", len(oddToken))
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{`{"a":"b"}`, `{"a":"b"}`},
		{oddToken, stars},
		{`{"a":"` + oddToken + `"}`, `{"a":"` + stars + `"}`},
		{oddToken + oddToken + "C" + oddToken, stars + stars + "C" + stars},
		{"CK-oa_CK-oa_9_-A_Zz0123456789", "CK-oa_" + stars},
		// No encoder escapes what tokens are made of, so that a token is not
		// looked for in another spelling than its own.
		{strings.ReplaceAll(oddToken, "C", `\u0043`), strings.ReplaceAll(oddToken, "C", `\u0043`)},
		{strings.ReplaceAll(oddToken, "C", "%43"), strings.ReplaceAll(oddToken, "C", "%43")},
		{strings.ToLower(oddToken), strings.ToLower(oddToken)},
		{oddToken[:len(oddToken)-1], oddToken[:len(oddToken)-1]},
		{oddToken[1:], oddToken[1:]},
		{`\u0043K-oa\u00`, `\u0043K-oa\u00`},
		{`\`, `\`}, {`%`, `%`}, {`\u`, `\u`}, {`C\`, `C\`},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "with EOF": iotest.DataErrReader,
		} {
			counted := 0
			got, err := io.ReadAll(&maskingReader{inner: wrap(strings.NewReader(tc.text)), mask: maskOf(oddToken), found: func(n int) { counted += n }})
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
	t.Parallel()
	m := maskOf("", "short")
	if m.n != 0 || m.inText("a short text") {
		t.Error("a text that is there by chance is taken for a token")
	}
	if m := maskOf(oddToken, oddToken); m.n != 1 {
		t.Errorf("the same token counts %d times", m.n)
	}
}

// What cannot be the beginning of a token is passed on before more comes.
func TestMaskingHoldsNothingBack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ chunk, passed string }{
		{`{"results":[`, `{"results":[`},
		{`{"name":"CRM C`, `{"name":"CRM `},
		{`{"name":"` + oddToken[:20], `{"name":"`},
		{`{"name":"` + oddToken[1:20], `{"name":"` + oddToken[1:20]},
		{`{"name":"` + oddToken, `{"name":"` + strings.Repeat("*", len(oddToken))},
		{`{"name":"a\`, `{"name":"a\`},
		{`{"name":"a\n`, `{"name":"a\n`},
	} {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, tc.chunk) }()
		scrubbed := &maskingReader{inner: r, mask: maskOf(oddToken), found: func(int) {}}
		buffer := make([]byte, 32<<10)
		n, err := scrubbed.Read(buffer)
		if err != nil || string(buffer[:n]) != tc.passed {
			t.Errorf("of %q passes %q, %v; want %q", tc.chunk, buffer[:n], err, tc.passed)
		}
		_ = r.Close()
	}
}

func TestMaskingBrokenBody(t *testing.T) {
	t.Parallel()
	text := `{"name":"` + oddToken[:9]
	got, err := io.ReadAll(&maskingReader{inner: io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)), mask: maskOf(oddToken), found: func(int) {}})
	if string(got) != text || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMaskingDoesNotAllocate(t *testing.T) {
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
// with what a plain replacement makes of it as a whole.
func FuzzScrubbedReader(f *testing.F) {
	f.Add(`{"a":"T","b":"CK-oa_9_"}`, []byte{3, 1, 7})
	f.Add(`TTCTU%43%4BU\`, []byte{1})
	f.Add(`CCCKCCCKCCCK01234567 CCCK`, []byte{})
	f.Fuzz(func(t *testing.T, text string, sizes []byte) {
		// T and U stand for whole tokens, which a fuzzer would not guess.
		text = strings.NewReplacer("T", oddToken, "U", otherToken).Replace(text)
		r := &maskingReader{inner: &chunks{text, sizes}, mask: maskOf(oddToken, otherToken), found: func(int) {}}
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

func BenchmarkMask(b *testing.B) {
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

func TestSmellsOfCredentials(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/crm/objects/2026-09/contacts": false, "/crm/objects/2026-09/contacts/batch/read": false, "/": false, "": false,
		"/tok": false, "/toke": false, "/x/tokens/y": true, "/OAUTH": true, "/sessions": true, "/crm/APIKeys": true, "/smtp/password-reset": true,
		"/t": false, "/x/t": false, "/a": false, "/\xff\xf4oken": false,
	} {
		if got := smellsOfCredentials(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
