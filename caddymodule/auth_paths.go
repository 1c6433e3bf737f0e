package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// defaultBasePath is where hubspot_auth has its own paths.
const defaultBasePath = "/hubspot"

// authEndpoint is one of the paths below the base path.
type authEndpoint int

const (
	endpointNone       authEndpoint = iota
	endpointLink                    // <base>/auth/{app}
	endpointConnect                 // <base>/{app}/connect
	endpointList                    // <base>/connections/{app}
	endpointConnection              // <base>/connections/{app}/{user}
	endpointTokens                  // <base>/tokens/{app}
)

// String names the endpoint in logs.
func (e authEndpoint) String() string {
	switch e {
	case endpointLink:
		return "link"
	case endpointConnect:
		return "connect"
	case endpointList:
		return "connections"
	case endpointConnection:
		return "connection"
	case endpointTokens:
		return "tokens"
	}
	return "none"
}

// The fixed segments of the endpoints. An app cannot bear one of the first
// three as its name: its connect path would be another endpoint's.
const (
	segmentLink        = "auth"
	segmentConnections = "connections"
	segmentTokens      = "tokens"
	segmentConnect     = "connect"
)

// authPath is what the path of a request asks for.
type authPath struct {
	endpoint authEndpoint
	// app is as the caller wrote it.
	app string
	// user is decoded; empty if the path names none or several segments.
	user string
}

// basePath is the base path of the endpoints, cut into segments.
type basePath struct {
	text     string
	segments []string
}

func parseBasePath(text string) (basePath, error) {
	switch {
	case text == "":
		text = defaultBasePath
	case text == "/":
		return basePath{}, nil
	case text[0] != '/':
		return basePath{}, fmt.Errorf("base_path %q: must begin with a slash, such as %s", text, defaultBasePath)
	case text[len(text)-1] == '/':
		return basePath{}, fmt.Errorf("base_path %q: must not end with a slash", text)
	case unusual.MatchString(text) || strings.ContainsAny(text, "%?#*{}"):
		return basePath{}, fmt.Errorf("base_path %q: must be a plain path, without placeholders, wildcards, a query or percent-encodings", text)
	}
	segments := strings.Split(text[1:], "/")
	if slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return basePath{}, fmt.Errorf("base_path %q: has an empty segment or one of dots, and can never match", text)
	}
	return basePath{text: text, segments: segments}, nil
}

// find tells which endpoint the path of a URL belongs to.
func (b basePath) find(u *url.URL) authPath {
	if !strings.HasPrefix(u.Path, b.text+"/") {
		return authPath{}
	}
	segments, ok := decodedSegments(u)
	if !ok || len(segments) < len(b.segments) || !slices.Equal(segments[:len(b.segments)], b.segments) {
		return authPath{}
	}
	rest := segments[len(b.segments):]
	switch {
	case len(rest) < 2:
		return authPath{}
	case rest[0] == segmentConnections && len(rest) == 2:
		return authPath{endpoint: endpointList, app: rest[1]}
	case rest[0] == segmentConnections && len(rest) == 3:
		return authPath{endpoint: endpointConnection, app: rest[1], user: rest[2]}
	case rest[0] == segmentConnections:
		return authPath{endpoint: endpointConnection, app: rest[1]}
	case len(rest) != 2:
		return authPath{}
	case rest[0] == segmentLink:
		return authPath{endpoint: endpointLink, app: rest[1]}
	case rest[0] == segmentTokens:
		return authPath{endpoint: endpointTokens, app: rest[1]}
	case rest[1] == segmentConnect:
		return authPath{endpoint: endpointConnect, app: rest[0]}
	}
	return authPath{}
}

// connect is the path at which a browser starts an install.
func (b basePath) connect(app string) string {
	return b.text + "/" + url.PathEscape(app) + "/" + segmentConnect
}

// decodedSegments returns the decoded segments of a path. A slash that is
// encoded is part of a segment.
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

// callbackTarget is an app whose redirect_uri has a certain path.
type callbackTarget struct {
	app *hubApp
	// origin is the scheme and host of the redirect_uri, which is where
	// browsers see this site.
	origin string
	// secure is false for http://localhost.
	secure bool
}

// newCallbackTarget reads the app's redirect_uri, which is known to be valid.
func newCallbackTarget(app *hubApp) (callbackTarget, string, error) {
	u, err := url.Parse(app.settings.RedirectURI)
	if err != nil || u.Host == "" {
		return callbackTarget{}, "", fmt.Errorf("app %s: redirect_uri is not a whole URL", app.name)
	}
	return callbackTarget{
		app:    app,
		origin: strings.ToLower(u.Scheme + "://" + u.Host),
		secure: !strings.EqualFold(u.Scheme, "http"),
	}, u.Path, nil
}

// callbacks has the apps by the path of their redirect_uri. Each app has a
// path of its own.
type callbacks struct {
	byPath map[string]callbackTarget
	byApp  map[*hubApp]callbackTarget
}

// newCallbacks indexes the apps and refuses those whose paths are in the way
// of an endpoint.
func newCallbacks(base basePath, apps []*hubApp) (callbacks, error) {
	c := callbacks{byPath: make(map[string]callbackTarget), byApp: make(map[*hubApp]callbackTarget)}
	for _, app := range apps {
		if slices.Contains([]string{segmentLink, segmentConnections, segmentTokens}, app.name) {
			return callbacks{}, fmt.Errorf("app %s: the name is taken by a path of hubspot_auth; choose another", app.name)
		}
		if !app.settings.HasInstallLinks() {
			continue
		}
		t, path, err := newCallbackTarget(app)
		if err != nil {
			return callbacks{}, err
		}
		if base.find(&url.URL{Path: path}).endpoint != endpointNone {
			return callbacks{}, fmt.Errorf("app %s: the path of redirect_uri is one of hubspot_auth's own; end it in /callback, for example", app.name)
		}
		c.byPath[path] = t
		c.byApp[app] = t
	}
	return c, nil
}

// find returns the app that a request may be the callback of. redirect_uri
// is the address that browsers see, so the path before any rewriting counts
// as well as the one that reaches the handler.
func (c callbacks) find(r *http.Request) (callbackTarget, bool) {
	if t, ok := c.byPath[r.URL.Path]; ok {
		return t, true
	}
	if seen := originalURL(r); seen.Path != r.URL.Path {
		t, ok := c.byPath[seen.Path]
		return t, ok
	}
	return callbackTarget{}, false
}

// originalURL is the URL as the client sent it, before any rewriting.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// publicPath puts the prefix back that Caddy has stripped from a path, as
// handle_path does.
func publicPath(r *http.Request, path string) string {
	prefix, ok := strings.CutSuffix(originalURL(r).EscapedPath(), r.URL.EscapedPath())
	if !ok {
		return path
	}
	return prefix + path
}
