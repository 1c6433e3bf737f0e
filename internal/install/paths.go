package install

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// DefaultBase is the base path if none is set.
const DefaultBase = "/hubspot"

// Endpoint is one of the paths below the base path.
type Endpoint int

// The endpoints. All but EndpointConnect are for callers.
const (
	EndpointNone       Endpoint = iota
	EndpointLink                // <base>/auth/{app}
	EndpointConnect             // <base>/{app}/connect
	EndpointList                // <base>/connections/{app}
	EndpointConnection          // <base>/connections/{app}/{user}
	EndpointTokens              // <base>/tokens/{app}
)

// String names the endpoint in logs.
func (e Endpoint) String() string {
	return [...]string{"none", "link", "connect", "connections", "connection", "tokens"}[e]
}

// The fixed segments of the endpoints. An app cannot bear one of the first
// three as its name: its connect path would be another endpoint's.
const (
	segmentLink        = "auth"
	segmentConnections = "connections"
	segmentTokens      = "tokens"
	segmentConnect     = "connect"
)

// Path is what the path of a request asks for.
type Path struct {
	Endpoint Endpoint
	// App is as the client wrote it.
	App string
	// User is decoded; empty if the path names none or several segments.
	User string
}

// Base is the path below which the endpoints are, cut into segments. The zero
// value is the root.
type Base struct {
	text     string
	segments []string
}

// ParseBase reads a base path; empty is [DefaultBase]. Its errors begin with
// the name of the setting.
func ParseBase(text string) (Base, error) {
	switch {
	case text == "":
		text = DefaultBase
	case text == "/":
		return Base{}, nil
	case text[0] != '/':
		return Base{}, fmt.Errorf("base_path %q: must begin with a slash, such as %s", text, DefaultBase)
	case text[len(text)-1] == '/':
		return Base{}, fmt.Errorf("base_path %q: must not end with a slash", text)
	case unusual.MatchString(text) || strings.ContainsAny(text, "%?#*{}"):
		return Base{}, fmt.Errorf("base_path %q: must be a plain path, without placeholders, wildcards, a query or percent-encodings", text)
	}
	segments := strings.Split(text[1:], "/")
	if slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return Base{}, fmt.Errorf("base_path %q: has an empty segment or one of dots, and can never match", text)
	}
	return Base{text: text, segments: segments}, nil
}

// Find tells which endpoint the path of a URL belongs to. It compares decoded
// segments; a slash that is encoded is part of a segment.
func (b Base) Find(u *url.URL) Path {
	if !strings.HasPrefix(u.Path, b.text+"/") {
		return Path{}
	}
	segments, ok := decodedSegments(u)
	if !ok || len(segments) < len(b.segments) || !slices.Equal(segments[:len(b.segments)], b.segments) {
		return Path{}
	}
	rest := segments[len(b.segments):]
	switch {
	case len(rest) < 2:
		return Path{}
	case rest[0] == segmentConnections && len(rest) == 2:
		return Path{Endpoint: EndpointList, App: rest[1]}
	case rest[0] == segmentConnections && len(rest) == 3:
		return Path{Endpoint: EndpointConnection, App: rest[1], User: rest[2]}
	case rest[0] == segmentConnections:
		return Path{Endpoint: EndpointConnection, App: rest[1]}
	case len(rest) != 2:
		return Path{}
	case rest[0] == segmentLink:
		return Path{Endpoint: EndpointLink, App: rest[1]}
	case rest[0] == segmentTokens:
		return Path{Endpoint: EndpointTokens, App: rest[1]}
	case rest[1] == segmentConnect:
		return Path{Endpoint: EndpointConnect, App: rest[0]}
	}
	return Path{}
}

// connect is the path at which a browser starts an install.
func (b Base) connect(app string) string {
	return b.text + "/" + url.PathEscape(app) + "/" + segmentConnect
}

func decodedSegments(u *url.URL) ([]string, bool) {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return nil, false
		}
		segments[i] = decoded
	}
	return segments, true
}

// target is an app whose redirect_uri has a certain path.
type target struct {
	app *hubapp.App
	// origin is the scheme and host of the redirect_uri, which is where
	// browsers see this site.
	origin string
	// secure is false for http://localhost.
	secure bool
}

// newTarget reads the app's redirect_uri, which is known to be valid.
func newTarget(app *hubapp.App) (t target, path string, err error) {
	u, err := url.Parse(app.Settings.RedirectURI)
	if err != nil || u.Host == "" {
		return target{}, "", fmt.Errorf("app %s: redirect_uri is not a whole URL", app.Name)
	}
	return target{
		app:    app,
		origin: strings.ToLower(u.Scheme + "://" + u.Host),
		secure: !strings.EqualFold(u.Scheme, "http"),
	}, u.Path, nil
}

// callbacks has the apps by the path of their redirect_uri. Each app has a
// path of its own.
type callbacks struct {
	byPath map[string]target
	byApp  map[*hubapp.App]target
}

// newCallbacks indexes the apps and refuses those whose paths are in the way
// of an endpoint.
func newCallbacks(base Base, apps []*hubapp.App) (callbacks, error) {
	c := callbacks{byPath: make(map[string]target), byApp: make(map[*hubapp.App]target)}
	for _, app := range apps {
		if slices.Contains([]string{segmentLink, segmentConnections, segmentTokens}, app.Name) {
			return callbacks{}, fmt.Errorf("app %s: the name is taken by a path of hubspot_auth; choose another", app.Name)
		}
		if !app.Settings.HasInstallLinks() {
			continue
		}
		t, path, err := newTarget(app)
		if err != nil {
			return callbacks{}, err
		}
		if base.Find(&url.URL{Path: path}).Endpoint != EndpointNone {
			return callbacks{}, fmt.Errorf("app %s: the path of redirect_uri is one of hubspot_auth's own; end it in /callback, for example", app.Name)
		}
		c.byPath[path] = t
		c.byApp[app] = t
	}
	return c, nil
}

// find returns the app that a request may be the callback of. redirect_uri
// is the address that browsers see, so the path before any rewriting, seen,
// counts as well as the one that reaches the handler.
func (c callbacks) find(r *http.Request, seen *url.URL) (target, bool) {
	t, ok := c.byPath[r.URL.Path]
	if !ok {
		t, ok = c.byPath[seen.Path]
	}
	return t, ok
}

// findStripped returns the app of a callback whose path has lost its beginning
// on the way here, as a proxy in front may take it off.
func (c callbacks) findStripped(seen *url.URL) (target, bool) {
	if len(seen.Path) < 2 {
		return target{}, false
	}
	for path, t := range c.byPath {
		if strings.HasSuffix(path, seen.Path) {
			return t, true
		}
	}
	return target{}, false
}

// strippedConnect returns the app at whose path an install was to begin that has
// lost its beginning in the same way, or nil.
func (i *Installer) strippedConnect(seen *url.URL) *hubapp.App {
	for app := range i.callbacks.byApp {
		own := "/" + app.Name + "/" + segmentConnect
		if strings.HasSuffix(seen.Path, own) && strings.HasSuffix(i.config.Base.text+own, seen.Path) {
			return app
		}
	}
	return nil
}

// publicPath puts the prefix back that the server has stripped from a path, as
// Caddy's handle_path does.
func publicPath(r *http.Request, seen *url.URL, path string) string {
	prefix, ok := strings.CutSuffix(seen.EscapedPath(), r.URL.EscapedPath())
	if !ok {
		return path
	}
	return prefix + path
}
