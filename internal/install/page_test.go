package install

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	t.Parallel()
	body, err := page{
		Good: true, Title: "<Title>", Text: []string{"a & b"}, Quote: `"><script>alert(1)</script>`,
		App: "hbdev", HubID: 1234567, Missing: []string{"crm.<b>"}, Reference: "ref",
		Link: &pageLink{URL: "javascript:alert(1)", Text: "Go"},
	}.render()
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, want := range []string{"&lt;Title&gt;", "a &amp; b", "<dd>1234567</dd>", "crm.&lt;b&gt;", `lang="en"`, "<h1>"} {
		if !strings.Contains(text, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, bad := range []string{"<script", "javascript:alert", "http://", "https://", " style=", " onclick"} {
		if strings.Contains(text, bad) {
			t.Errorf("page has %q", bad)
		}
	}
	style := text[strings.Index(text, "<style>")+len("<style>") : strings.Index(text, "</style>")]
	sum := sha256.Sum256([]byte(style))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(contentPolicy, hash) {
		t.Errorf("the policy %q does not permit the style of the page, %s", contentPolicy, hash)
	}
}

func TestQuotable(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain text":                     "plain text",
		" two\r\nlines\tand  spaces ":    "two lines and spaces",
		"turned \u202eround\u202c":       "turned round",
		"zero\u200bwidth \x00\x1b[31m":   "zerowidth [31m",
		"broken \xff\xfe bytes":          "broken bytes",
		strings.Repeat("ä", maxQuote):    strings.Repeat("ä", maxQuote),
		strings.Repeat("ä", maxQuote+10): strings.Repeat("ä", maxQuote) + "…",
	}
	for text, want := range tests {
		if got := quotable(text); got != want {
			t.Errorf("quotable(%q) = %q, want %q", text, got, want)
		}
	}
}
