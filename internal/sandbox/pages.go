package sandbox

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed pages/style.css
var pageStyle string

var (
	pageTemplates = template.Must(template.New("").Funcs(template.FuncMap{"join": strings.Join}).ParseFS(pageFiles, "pages/*.html"))
	// pagePolicy: pages load nothing and run no scripts. There is no
	// form-action: browsers apply it to the redirects that answer a form as
	// well, and consent ends with one to the app.
	pagePolicy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" + digestOf(pageStyle) + "'"
)

func digestOf(text string) string {
	digest := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(digest[:])
}

// renderPage makes a page of one of the templates; data is what it shows.
func renderPage(status int, name, title string, data any) reply {
	var buf bytes.Buffer
	err := pageTemplates.ExecuteTemplate(&buf, name, map[string]any{
		"Style": template.CSS(pageStyle), "Title": title, "Data": data,
	})
	if err != nil {
		// A template that does not fit its data: a bug that any test finds.
		return sandboxError(http.StatusInternalServerError, "The page could not be made.")
	}
	return reply{status: status, body: buf.Bytes()}.
		with("Content-Type", "text/html; charset=utf-8").
		with("Content-Security-Policy", pagePolicy).
		with("Cache-Control", "no-store").
		with("Referrer-Policy", "same-origin").
		with("X-Content-Type-Options", "nosniff").
		with("X-Frame-Options", "DENY")
}

type indexData struct {
	Base    string
	Apps    []indexApp
	Portals []Portal
}

type indexApp struct {
	App
	// Secret is the demo app's, which is public; those of configured apps
	// are not shown.
	Secret string
	// RedirectURI is one that the example can use.
	RedirectURI string
}

// siteOf is the scheme and host that a request came to.
func siteOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (w *world) index(r *http.Request) reply {
	data := indexData{Base: siteOf(r), Portals: w.opts.Portals}
	for _, app := range w.opts.Apps {
		shown := indexApp{App: app, RedirectURI: "http://localhost:3000/callback"}
		if app.ClientID == DemoClientID && app.secretMatches(DemoClientSecret) {
			shown.Secret = DemoClientSecret
		}
		if len(app.RedirectURIs) > 0 {
			shown.RedirectURI = app.RedirectURIs[0]
		}
		data.Apps = append(data.Apps, shown)
	}
	return renderPage(http.StatusOK, "index.html", "HubSpot sandbox", data)
}
