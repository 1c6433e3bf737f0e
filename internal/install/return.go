package install

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

// maxReturnTo bounds a return_to, which travels inside the state and so in
// the install link.
const maxReturnTo = 2048

// address is an address that a browser can be sent to, in its normal form:
// scheme and host in lower case, no default port, a path. It is what is matched
// and what is used. The zero value is none.
type address struct {
	scheme, host, port string
	// path is escaped; query and fragment are as they came.
	path, query, fragment string
}

// unusual matches what browsers and servers read in different ways, or not
// at all, in an address. A backslash is a slash to browsers (WHATWG URL
// 4.4), and tabs and line ends vanish.
var unusual = regexp.MustCompile(`[^!-~]|\\`)

// parseAddress brings an address into its normal form. It takes only what
// every browser reads in the same way as this does.
func parseAddress(raw string) (address, error) {
	switch {
	case len(raw) > maxReturnTo:
		return address{}, fmt.Errorf("is longer than %d characters", maxReturnTo)
	case unusual.MatchString(raw):
		return address{}, errors.New("holds a space, a backslash, a control character or one that is not ASCII: percent-encode it")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return address{}, errors.New("must be a whole address such as https://app.example.com/settings")
	}
	a := address{
		scheme:   u.Scheme,
		host:     strings.ToLower(u.Hostname()),
		port:     u.Port(),
		path:     u.EscapedPath(),
		query:    u.RawQuery,
		fragment: u.EscapedFragment(),
	}
	if u.User != nil {
		return address{}, errors.New("must not hold a user name")
	}
	if a.path == "" {
		a.path = "/"
	}
	if a.port, err = normalPort(a.scheme, a.port); err != nil {
		return address{}, err
	}
	return a, a.validate()
}

func (a address) validate() error {
	switch {
	case a.scheme != "https" && a.scheme != "http":
		return errors.New("must begin with https://")
	case strings.Contains(a.host, "%") || !hostName.MatchString(a.host) && !isLoopbackHost(a.host):
		return errors.New("has a host that is not a name")
	case a.scheme == "http" && !isLoopbackHost(a.host):
		return errors.New("must be https; plain http is for localhost only")
	case hasDotSegment(a.path):
		return errors.New("must not have . or .. in its path")
	}
	return nil
}

// sameOrigin reports whether two addresses have the scheme, host and port in
// common.
func (a address) sameOrigin(b address) bool {
	return a.scheme == b.scheme && a.host == b.host && a.port == b.port
}

// rest is everything after the host and port.
func (a address) rest() string {
	rest := a.path
	if a.query != "" {
		rest += "?" + a.query
	}
	if a.fragment != "" {
		rest += "#" + a.fragment
	}
	return rest
}

// String returns the whole address.
func (a address) String() string {
	host := a.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.port != "" {
		host += ":" + a.port
	}
	return a.scheme + "://" + host + a.rest()
}

// with returns the address with parameters at the end of its query, given as
// pairs of name and value, in place of all that have a name of drop.
func (a address) with(drop []string, pairs ...string) address {
	var query []string
	for parameter := range strings.SplitSeq(a.query, "&") {
		name, _, _ := strings.Cut(parameter, "=")
		if decoded, err := url.QueryUnescape(name); parameter != "" && (err != nil || !slices.Contains(drop, decoded)) {
			query = append(query, parameter)
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		query = append(query, pairs[i]+"="+url.QueryEscape(pairs[i+1]))
	}
	a.query = strings.Join(query, "&")
	return a
}

// hostName matches names and IPv4 addresses in lower case; international
// names are written in their xn-- form.
var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// isLoopbackHost reports whether a host in lower case is this machine.
func isLoopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// normalPort drops the port that the scheme has anyway.
func normalPort(scheme, port string) (string, error) {
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("has a port that is not between 1 and 65535")
	}
	if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
		return "", nil
	}
	return strconv.FormatUint(n, 10), nil
}

// hasDotSegment reports whether a browser or a server would shorten the
// path, encoded dots and slashes included.
func hasDotSegment(escapedPath string) bool {
	decoded, err := url.PathUnescape(escapedPath)
	if err != nil {
		return true
	}
	for segment := range strings.FieldsFuncSeq(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// ReturnList is what return_to may be. The zero value allows nothing.
type ReturnList []returnPattern

// returnPattern is one entry. It is matched part by part, so that an asterisk
// never reaches from one part of the address into another: none in the path
// can turn into a host.
type returnPattern struct {
	scheme string
	host   access.Glob
	// port is empty for the scheme's own, and "*" for any (localhost only).
	port string
	// rest is matched with the path, query and fragment together.
	rest access.Glob
}

// ParseReturnList reads the setting return_to. Its errors begin with the name
// of the setting and the entry.
func ParseReturnList(patterns []string) (ReturnList, error) {
	var list ReturnList
	for _, text := range patterns {
		p, err := parseReturnPattern(text)
		if err != nil {
			return nil, fmt.Errorf("return_to %q: %w", text, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// Check returns raw in its normal form if the list allows it. Its errors say
// what would be right and do not repeat raw.
func (l ReturnList) Check(raw string) (string, error) {
	a, err := l.check(raw)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

func (l ReturnList) check(raw string) (address, error) {
	a, err := parseAddress(raw)
	if err != nil {
		return address{}, fmt.Errorf("return_to %w", err)
	}
	if !slices.ContainsFunc(l, func(p returnPattern) bool { return p.matches(a) }) {
		return address{}, errors.New("return_to is not on the allow-list: add it to the return_to setting of hubspot_auth")
	}
	return a, nil
}

func (p returnPattern) matches(a address) bool {
	return a.scheme == p.scheme && p.host.Match(a.host) &&
		(a.port == p.port || p.port == "*") && p.rest.Match(a.rest())
}

// parseReturnPattern reads one entry of the allow-list. It refuses what can
// never match and what would let a browser be sent to a foreign site.
func parseReturnPattern(text string) (returnPattern, error) {
	if unusual.MatchString(text) {
		return returnPattern{}, errors.New("holds a space, a backslash or a character that is not ASCII, and can never match")
	}
	scheme, tail, ok := strings.Cut(text, "://")
	if !ok {
		return returnPattern{}, errors.New("must be a whole address such as https://app.example.com/*")
	}
	authority, rest := tail, "/"
	if i := strings.IndexAny(tail, "/?#"); i >= 0 {
		authority, rest = tail[:i], tail[i:]
	}
	if rest[0] != '/' {
		return returnPattern{}, errors.New("needs a / after the host")
	}
	path, _, _ := strings.Cut(rest, "?")
	path, _, _ = strings.Cut(path, "#")
	if hasDotSegment(path) {
		return returnPattern{}, errors.New("has . or .. in its path, or a broken percent-encoding, and can never match")
	}
	p := returnPattern{scheme: strings.ToLower(scheme)}
	if err := p.setAuthority(strings.ToLower(authority)); err != nil {
		return returnPattern{}, err
	}
	var err error
	p.rest, err = access.CompileGlob(rest)
	return p, err
}

// setAuthority reads the host and port of a pattern.
func (p *returnPattern) setAuthority(authority string) error {
	if strings.Contains(authority, "@") {
		return errors.New("must not hold a user name")
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if err := checkHostGlob(host); err != nil {
		return err
	}
	loopback := isLoopbackHost(host)
	var err error
	switch {
	case p.scheme != "https" && p.scheme != "http":
		return errors.New("must begin with https://")
	case p.scheme == "http" && !loopback:
		return errors.New("must be https; plain http is for localhost only")
	case port == "*" && !loopback:
		return errors.New("any port is for localhost only; name the port, or none for 443")
	case port == "*":
		p.port = port
	default:
		if p.port, err = normalPort(p.scheme, port); err != nil {
			return err
		}
	}
	p.host, err = access.CompileGlob(host)
	return err
}

// checkHostGlob refuses hosts that anybody could own: an asterisk may stand
// for a part of the name left of its last two labels only.
func checkHostGlob(host string) error {
	if !hostName.MatchString(strings.ReplaceAll(host, "*", "x")) && !isLoopbackHost(host) {
		return errors.New("has no host, or one that is not a name")
	}
	labels := strings.Split(host, ".")
	if strings.Contains(strings.Join(labels[max(0, len(labels)-2):], "."), "*") {
		return errors.New("would let browsers be sent to hosts of others: * may not stand in the last two parts of the host name")
	}
	return nil
}
