package install

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page and its style
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"unicode"
)

//go:embed pages/page.html
var pageHTML string

//go:embed pages/style.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// contentPolicy lets a page have its own style and nothing else: no script,
// no form, no frame around it, nothing from elsewhere.
var contentPolicy = func() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// page is what a person is shown. It needs neither scripts nor anything that
// would have to be loaded.
type page struct {
	// Good is set where everything went well.
	Good  bool
	Title string
	// Text are paragraphs: what happened and what to do.
	Text []string
	// Quote is a text of HubSpot's, or of whoever made the link.
	Quote string
	// App and HubID say what was connected with which HubSpot account.
	App   string
	HubID int64
	// Missing are the scopes that were asked for and not granted.
	Missing []string
	Link    *pageLink
	// Reference is the correlation id that is also in the log.
	Reference string
}

// pageLink is the one thing that can be done on a page.
type pageLink struct {
	URL, Text string
}

// Style is the content of the style element. Its hash is in contentPolicy.
func (page) Style() template.CSS { return template.CSS(pageCSS) } //nolint:gosec // a constant of ours

func (p page) render() ([]byte, error) {
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, p)
	return out.Bytes(), err
}

// protect sets the headers of everything that a browser is answered: the
// address of the page, and what is on it, stay in this browser and this tab.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
}

// maxQuote is how much of a foreign text is shown.
const maxQuote = 300

// quotable makes a foreign text fit to be shown: one line, no characters
// that are invisible or turn the direction of the text, and not too long.
func quotable(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, text)
	runes := []rune(strings.Join(strings.Fields(clean), " "))
	if len(runes) <= maxQuote {
		return string(runes)
	}
	return string(runes[:maxQuote]) + "…"
}
