package relay

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// target is what a request asks HubSpot for, byte for byte as the caller
// wrote it.
type target struct {
	// path is escaped and starts with a slash.
	path string
	// query comes without its question mark.
	query string
	// bareQuery is set if there is a question mark and nothing after it.
	bareQuery bool
}

// Errors of a target. Their texts are shown to the caller.
var (
	errNoPath    = errors.New("the request target has to be a path that starts with /")
	errOddPath   = errors.New("a path that starts with // can be read as a host, and this one holds characters that have to be percent-encoded; encode them")
	errUserParts = errors.New("the path has to go on after the user, as in /as/{user}/crm/…, and the user has to be percent-encoded once and well")
	errUserLost  = errors.New("the path begins with /as/ and goes on with a word of HubSpot's own paths where the user should be; a client that joins paths as URLs has lost the user: end its base URL in /as/{user}/, with a slash, or send the header X-HubSpot-User")
)

// targetOf returns what r asks for. sent is the target as the client sent it:
// handlers in front of this one may have changed the URL, and the result is what
// they left of it.
func targetOf(r *http.Request, sent string) (target, error) {
	t := target{path: wirePath(r.URL, sent), query: r.URL.RawQuery, bareQuery: r.URL.ForceQuery}
	if t.path == "" {
		t.path = "/"
	}
	return t, t.check()
}

// check refuses what cannot be sent as it is.
func (t target) check() error {
	if t.path[0] != '/' {
		return errNoPath
	}
	if strings.HasPrefix(t.path, "//") && !isEscapedPath(t.path) {
		return errOddPath
	}
	return nil
}

// wirePath returns the path of a URL with the bytes that the client sent.
// [url.URL.EscapedPath] is almost that: it encodes characters which should
// have been encoded and were not, such as | and non-ASCII letters.
func wirePath(u *url.URL, sent string) string {
	escaped := u.EscapedPath()
	if rest, ok := strings.CutPrefix(sent, escaped); ok && (rest == "" || rest[0] == '?') {
		return escaped
	}
	// A handler that took off a prefix has left the end of what was sent.
	raw := originForm(sent)
	prefix, ok := strings.CutSuffix(normalizePath(raw), escaped)
	if !ok {
		return escaped
	}
	if rest, ok := strings.CutPrefix(raw, prefix); ok && normalizePath(rest) == escaped {
		return rest
	}
	return escaped
}

// originForm returns the path of a request target (RFC 9112, 3.2).
func originForm(requestURI string) string {
	path, _, _ := strings.Cut(requestURI, "?")
	if strings.HasPrefix(path, "/") {
		return path
	}
	_, rest, ok := strings.Cut(path, "://")
	if !ok {
		return path
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}

// normalizePath returns the path as [url.URL.EscapedPath] has it once it was
// parsed, or nothing that equals an escaped path.
func normalizePath(raw string) string {
	path, err := url.PathUnescape(raw)
	if err != nil {
		return "\x00"
	}
	return (&url.URL{Path: path, RawPath: raw}).EscapedPath()
}

// isEscapedPath reports whether a path has only characters that may stand in
// one, so that package url reproduces it.
func isEscapedPath(raw string) bool { return normalizePath(raw) == raw }

// url returns the target as a URL of the host.
func (t target) url(scheme, host string) *url.URL {
	u := &url.URL{Scheme: scheme, Host: host, RawPath: t.path, RawQuery: t.query, ForceQuery: t.bareQuery}
	path, err := url.PathUnescape(t.path)
	if err == nil {
		u.Path = path
	}
	if u.EscapedPath() != t.path {
		// Opaque goes into the request line as it is. That is safe because
		// check has seen to it that this is not //host/path.
		u.Opaque = t.path
	}
	return u
}

// asPrefix is the path prefix that names the user.
const asPrefix = "/as/"

// cutUser splits a target with the prefix /as/{user} into the user and the
// rest. ok is false for a target without the prefix.
func (t target) cutUser() (user string, rest target, ok bool, err error) {
	after, ok := strings.CutPrefix(t.path, asPrefix)
	if !ok {
		return "", t, false, nil
	}
	segment, path, slash := strings.Cut(after, "/")
	if !slash {
		return "", t, true, errUserParts
	}
	user, err = url.PathUnescape(segment)
	// URL libraries resolve dot segments before they send a path, so that
	// users of these names would reach other paths now and then.
	if err != nil || user == "." || user == ".." {
		return "", t, true, errUserParts
	}
	if hubspot.IsRoot(user) {
		return "", t, true, errUserLost
	}
	// A base URL that ends in a slash makes two of them.
	t.path = "/" + strings.TrimPrefix(path, "/")
	return user, t, true, t.check()
}

// developerKey is the query parameter that would make a request one of the
// developer account that owns the key.
const developerKey = "hapikey"

// withoutDeveloperKey removes the developer key from the query, however it
// is spelt, and leaves every other byte as it is.
func (t target) withoutDeveloperKey() target {
	if t.query == "" || !mentionsDeveloperKey(t.query) {
		return t
	}
	var kept []string
	for parameter := range strings.SplitSeq(t.query, "&") {
		if !isDeveloperKey(parameter) {
			kept = append(kept, parameter)
		}
	}
	t.query = strings.Join(kept, "&")
	return t
}

func mentionsDeveloperKey(query string) bool {
	for parameter := range strings.SplitSeq(query, "&") {
		if isDeveloperKey(parameter) {
			return true
		}
	}
	return false
}

// isDeveloperKey reports whether a server would read the parameter's name as
// the developer key's. Case and white space around it are not regarded.
func isDeveloperKey(parameter string) bool {
	name, _, _ := strings.Cut(parameter, "=")
	if len(name) < len(developerKey) {
		return false
	}
	if strings.ContainsAny(name, "%+") {
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			return false
		}
		name = decoded
	}
	return strings.EqualFold(strings.TrimSpace(name), developerKey)
}
