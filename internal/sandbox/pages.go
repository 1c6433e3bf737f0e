package sandbox

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages/*.html pages/style.css
var pageFiles embed.FS

// pages are the sandbox's HTML pages. They load nothing and run no scripts.
type pages struct {
	templates *template.Template
	style     template.CSS
	policy    string
}

func loadPages() (*pages, error) {
	style, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("reading the style sheet: %w", err)
	}
	templates, err := template.New("").Funcs(template.FuncMap{"join": strings.Join}).ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the templates: %w", err)
	}
	digest := sha256.Sum256(style)
	return &pages{
		templates: templates,
		style:     template.CSS(style), // our own file
		// There is no form-action: browsers apply it to the redirects that
		// answer a form as well, and consent ends with one to the app.
		policy: "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(digest[:]) + "'",
	}, nil
}

// render makes a page; data is what its content template shows.
func (p *pages) render(status int, name, title string, data any) reply {
	var buf bytes.Buffer
	err := p.templates.ExecuteTemplate(&buf, name, map[string]any{
		"Style": p.style, "Title": title, "Data": data,
	})
	if err != nil {
		// A template that does not fit its data: a bug that any test finds.
		return sandboxError(http.StatusInternalServerError, "The page could not be made.")
	}
	return reply{status: status, body: buf.Bytes()}.
		with("Content-Type", "text/html; charset=utf-8").
		with("Content-Security-Policy", p.policy).
		with("Cache-Control", "no-store").
		with("Referrer-Policy", "same-origin").
		with("X-Content-Type-Options", "nosniff").
		with("X-Frame-Options", "DENY")
}

// indexData is what the start page shows.
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

// index explains the sandbox.
func (w *world) index(r *http.Request) reply {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	data := indexData{Base: scheme + "://" + r.Host, Portals: w.opts.Portals}
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
	return w.pages.render(http.StatusOK, "index.html", "HubSpot sandbox", data)
}
