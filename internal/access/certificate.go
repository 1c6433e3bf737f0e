package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// sanKind is a kind of subject alternative name (RFC 5280, 4.2.1.6).
type sanKind int

const (
	sanAny sanKind = iota
	sanURI
	sanDNS
	sanEmail
	sanIP
)

// sanGlob is a glob over the subject alternative names of one kind. The kind
// is told from the glob: an authority that vouches for DNS names only may let
// its clients choose an e-mail address or a URI, and the text of one must not
// pass for the other.
type sanGlob struct {
	kind    sanKind
	pattern string
	// names is nil for sanAny.
	names *regexp.Regexp
}

func compileSANs(patterns []string) ([]sanGlob, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	globs, err := compileGlobs("cert_san", patterns, checkSAN)
	if err != nil {
		return nil, err
	}
	sans := make([]sanGlob, 0, len(globs))
	for _, g := range globs {
		san := sanGlob{kind: kindOfSAN(g.pattern), pattern: g.pattern}
		if slices.ContainsFunc(sans, san.equal) {
			return nil, fmt.Errorf("cert_san: glob %q is given twice, in different %s", g.pattern, san.difference())
		}
		if san.kind != sanAny {
			san.names = compileName(san.kind, san.pattern)
		}
		sans = append(sans, san)
	}
	return sans, nil
}

// kindOfSAN returns what kind of name a glob is for. URIs have a scheme and
// its colon, e-mail addresses an @, IP addresses digits and their separators
// only, and everything else is a DNS name.
func kindOfSAN(pattern string) sanKind {
	switch {
	case strings.Trim(pattern, "*") == "":
		return sanAny
	case isAddressGlob(pattern):
		return sanIP
	case strings.Contains(pattern, ":"):
		return sanURI
	case strings.Contains(pattern, "@"):
		return sanEmail
	}
	return sanDNS
}

// isAddressGlob tells 10.1.* and fd00:* from names: the former have nothing
// but digits and dots, the latter a colon among hex digits.
func isAddressGlob(pattern string) bool {
	if strings.Trim(pattern, "*.0123456789") == "" {
		return strings.ContainsAny(pattern, "0123456789")
	}
	return strings.Contains(pattern, ":") && strings.Trim(pattern, "*:.0123456789abcdefABCDEF") == ""
}

func checkSAN(pattern string) error {
	var err error
	switch kind := kindOfSAN(pattern); {
	case strings.Contains(pattern, "***"):
		err = errors.New("write * for a run within one label, or ** for any run")
	case strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r > '~' }):
		err = errors.New("names in certificates are ASCII without spaces")
	case kind == sanURI:
		err = checkURIGlob(pattern)
	case kind == sanDNS:
		if strings.Trim(pattern, "*-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			err = errors.New("a DNS name has letters, digits, -, _ and . only; a URI begins with its scheme, as in spiffe://")
		}
	case kind == sanEmail:
		if strings.Count(pattern, "@") > 1 {
			err = errors.New("an e-mail address has one @")
		}
	case kind == sanIP:
		err = checkAddressGlob(pattern)
	}
	if err != nil {
		return fmt.Errorf("glob %q can never match: %w", pattern, err)
	}
	return nil
}

func checkURIGlob(pattern string) error {
	scheme, rest, _ := strings.Cut(pattern, ":")
	if scheme != strings.ToLower(scheme) {
		return errors.New("the scheme of a URI is compared in lower case")
	}
	if _, err := url.Parse(strings.ReplaceAll(pattern, "*", "x")); err != nil {
		return errors.New("it is not a URI")
	}
	uri := new(url.URL)
	rest, hierarchical := strings.CutPrefix(rest, "//")
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.IndexByte(rest, '/'); hierarchical && i >= 0 {
		uri.Path, uri.RawPath = rest[i:], rest[i:]
	} else if !hierarchical {
		uri.Opaque = rest
	}
	if strays(uri) {
		return errors.New("URIs with the segments . and .., empty segments or encoded slashes are refused")
	}
	return nil
}

// checkAddressGlob wants an address in the one spelling that is compared, or
// as many parts as an address has.
func checkAddressGlob(pattern string) error {
	if strings.Contains(pattern, "*") {
		return checkAddressParts(pattern)
	}
	addr, err := netip.ParseAddr(pattern)
	if err != nil {
		return errors.New("it is neither an IP address nor a DNS name")
	}
	if text := addr.Unmap().String(); text != pattern {
		return fmt.Errorf("write the address as %s", text)
	}
	return nil
}

func checkAddressParts(pattern string) error {
	separator, parts := ".", 4
	if strings.Contains(pattern, ":") {
		separator, parts = ":", 8
	}
	has := strings.Count(pattern, separator) + 1
	switch {
	case pattern != strings.ToLower(pattern):
		return errors.New("addresses are compared in lower case")
	case strings.Contains(pattern, "**") && has <= parts, strings.Contains(pattern, "::"), has == parts:
		return nil
	}
	return fmt.Errorf("an address has %d parts and * is one of them; write %s for any that begin like this",
		parts, strings.TrimRight(pattern, "*")+"**")
}

// equal reports whether two globs match the same names.
func (s sanGlob) equal(other sanGlob) bool {
	switch {
	case s.kind != other.kind:
		return false
	case s.kind == sanAny:
		return true
	case s.kind == sanDNS:
		return fold(s.pattern) == fold(other.pattern)
	}
	return s.pattern == other.pattern
}

// difference names what equal does not regard.
func (s sanGlob) difference() string {
	if s.kind == sanAny {
		return "ways"
	}
	return "case"
}

// matchAny reports whether a certificate has a name that one of the globs
// matches. URIs, e-mail and IP addresses compare exactly, DNS names without
// regard to case. The common name is not looked at (RFC 9525, 2).
func matchAny(globs []sanGlob, cert *x509.Certificate) bool {
	return slices.ContainsFunc(globs, func(s sanGlob) bool { return s.match(cert) })
}

func (s sanGlob) match(cert *x509.Certificate) bool {
	switch s.kind {
	case sanURI:
		return slices.ContainsFunc(cert.URIs, func(uri *url.URL) bool {
			return s.names.MatchString(uri.String()) && !strays(uri)
		})
	case sanDNS:
		return slices.ContainsFunc(cert.DNSNames, func(name string) bool { return s.names.MatchString(fold(name)) })
	case sanEmail:
		return slices.ContainsFunc(cert.EmailAddresses, s.names.MatchString)
	case sanIP:
		return slices.ContainsFunc(cert.IPAddresses, func(ip net.IP) bool { return s.names.MatchString(ip.String()) })
	case sanAny:
		return slices.ContainsFunc(cert.URIs, func(uri *url.URL) bool { return !strays(uri) }) ||
			len(cert.DNSNames)+len(cert.EmailAddresses)+len(cert.IPAddresses) > 0
	}
	return false
}
