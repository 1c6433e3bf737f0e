package appconfig

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// checkRedirectURI refuses what HubSpot would refuse (working-with-oauth: https
// except for localhost, a domain and not an IP address) and what RFC 6749,
// 3.1.2 does not permit. Its errors do not hold the value.
func checkRedirectURI(value string) error {
	const example = "such as https://app.example.com/hubspot/hbdev/callback"
	u, err := url.Parse(value)
	if err != nil {
		return errors.New("is not a URL; write one " + example)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "":
		return errors.New("must be an absolute https URL, " + example)
	case u.User != nil:
		return errors.New("must not have a user name or a password in it")
	case u.Fragment != "" || strings.Contains(value, "#"):
		return errors.New("must not have a fragment (#)")
	case strings.ContainsAny(value, " {}") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("holds a character that must be percent-encoded in a URL")
	}
	if err := checkRedirectHost(u); err != nil {
		return err
	}
	switch {
	case u.Path == "" || u.Path == "/":
		return errors.New("must have a path of its own, " + example)
	case strings.Contains(u.Path, "//") || strings.TrimSuffix(u.Path, "/") != path.Clean(u.Path) || strings.ContainsAny(u.Path, `\;`):
		return errors.New("the path must not have empty or dot segments, backslashes or semicolons")
	}
	return nil
}

func checkRedirectHost(u *url.URL) error {
	host := u.Hostname()
	if host == "" {
		return errors.New("must have a host, such as https://app.example.com/…")
	}
	if _, err := netip.ParseAddr(host); err == nil || endsInNumber(host) {
		return errors.New("the host is an IP address, which HubSpot refuses; use a host name, or localhost for development")
	}
	if !hostName.MatchString(host) || len(host) > 253 {
		return errors.New("the host is not a host name; write an international one in its ASCII form (xn--…)")
	}
	if u.Scheme == "http" && !strings.EqualFold(host, "localhost") {
		return errors.New("HubSpot accepts plain http for localhost only; use https")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return errors.New("the port must be between 1 and 65535")
		}
	}
	return nil
}

// endsInNumber finds what browsers take for an IPv4 address in other notation,
// such as 127.1 or 0x7f000001 (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
