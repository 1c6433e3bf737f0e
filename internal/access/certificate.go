package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
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
	kind sanKind
	glob Glob
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
		san := sanGlob{kind: kindOfSAN(g.pattern), glob: g}
		if slices.ContainsFunc(sans, san.equal) {
			return nil, fmt.Errorf("cert_san: glob %q is given twice, in different case", g.pattern)
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
	case strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r > '~' }):
		err = errors.New("names in certificates are ASCII without spaces")
	case kind == sanURI:
		err = checkURIGlob(pattern)
	case kind == sanDNS:
		if strings.Trim(pattern, "*-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			err = errors.New("a DNS name has letters, digits, -, _ and . only; a URI begins with its scheme, as in spiffe://")
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
	scheme, _, _ := strings.Cut(pattern, ":")
	if scheme != strings.ToLower(scheme) {
		return errors.New("the scheme of a URI is compared in lower case")
	}
	return nil
}

// checkAddressGlob wants a whole address in the one spelling that is compared.
func checkAddressGlob(pattern string) error {
	if strings.Contains(pattern, "*") {
		if pattern != strings.ToLower(pattern) {
			return errors.New("addresses are compared in lower case")
		}
		return nil
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

// equal reports whether two globs match the same names.
func (s sanGlob) equal(other sanGlob) bool {
	if s.kind == sanDNS && other.kind == sanDNS {
		return fold(s.glob.pattern) == fold(other.glob.pattern)
	}
	return s.kind == other.kind && s.glob.pattern == other.glob.pattern
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
		for _, uri := range cert.URIs {
			if s.glob.Match(uri.String()) {
				return true
			}
		}
	case sanDNS:
		return slices.ContainsFunc(cert.DNSNames, s.glob.MatchFold)
	case sanEmail:
		return slices.ContainsFunc(cert.EmailAddresses, s.glob.Match)
	case sanIP:
		for _, ip := range cert.IPAddresses {
			if s.glob.Match(ip.String()) {
				return true
			}
		}
	case sanAny:
		return len(cert.URIs)+len(cert.DNSNames)+len(cert.EmailAddresses)+len(cert.IPAddresses) > 0
	}
	return false
}
