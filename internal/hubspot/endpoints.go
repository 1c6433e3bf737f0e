package hubspot

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// HubSpot's own endpoints, which [Endpoints.WithDefaults] fills in.
const (
	DefaultAPI       = "https://api.hubapi.com"
	DefaultAuthorize = "https://app.hubspot.com/oauth/authorize"
	DefaultVersion   = "2026-09"
)

// Endpoints says where HubSpot is. The zero value is HubSpot's own, for all
// regions; an empty field is that field's default. Endpoints are values and
// may be used concurrently.
type Endpoints struct {
	// API is the scheme, host and optional port of the API, without a path.
	API string
	// Authorize is the whole URL of the consent page, without a query.
	Authorize string
	// Version is the date version of the OAuth endpoints, as in
	// /oauth/2026-09/token.
	Version string
}

// WithDefaults returns e with HubSpot's own values in empty fields.
func (e Endpoints) WithDefaults() Endpoints {
	if e.API == "" {
		e.API = DefaultAPI
	}
	if e.Authorize == "" {
		e.Authorize = DefaultAuthorize
	}
	if e.Version == "" {
		e.Version = DefaultVersion
	}
	return e
}

var versionPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}(-beta)?$`)

// Validate reports the first setting that cannot be used, by its name and
// with what would be right. Tokens travel to these places, so plain http is
// for loopback only.
func (e Endpoints) Validate() error {
	e = e.WithDefaults()
	if err := validateAPI(e.API); err != nil {
		return fmt.Errorf("endpoints: api %q: %w", e.API, err)
	}
	if err := validateAuthorize(e.Authorize); err != nil {
		return fmt.Errorf("endpoints: authorize %q: %w", e.Authorize, err)
	}
	if !versionPattern.MatchString(e.Version) {
		return fmt.Errorf("endpoints: version %q: must be a date version such as 2026-09 or 2027-03-beta", e.Version)
	}
	return nil
}

func validateAPI(raw string) error {
	u, err := parseEndpoint(raw)
	if err != nil {
		return err
	}
	if u.Path != "" {
		return errors.New("must be scheme://host[:port] only, without a path or a slash at the end")
	}
	return nil
}

func validateAuthorize(raw string) error {
	u, err := parseEndpoint(raw)
	if err != nil {
		return err
	}
	if u.Path == "" || u.Path == "/" {
		return errors.New("must be the whole URL of the consent page, with its path, such as " + DefaultAuthorize)
	}
	return nil
}

// parseEndpoint holds the rules that both URLs share. Its errors do not
// repeat the URL.
func parseEndpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must begin with https://")
	case host == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password")
	case strings.ContainsAny(raw, "?#"):
		return nil, errors.New("must not have a query or a fragment")
	case strings.HasSuffix(u.Host, ":") || !validPort(u.Port()):
		return nil, errors.New("has a port that is not between 1 and 65535")
	case u.Scheme == "http" && !isLoopback(host):
		return nil, errors.New("must be https; plain http is for localhost and loopback addresses only")
	}
	return u, nil
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// TokenURL is where codes and refresh tokens are exchanged. Never the
// /oauth/v1 path, which ends on 2027-02-16.
func (e Endpoints) TokenURL() string {
	e = e.WithDefaults()
	return e.API + "/oauth/" + e.Version + "/token"
}

// RevokeURL is where a refresh token is revoked.
func (e Endpoints) RevokeURL() string { return e.TokenURL() + "/revoke" }

// UninstallURL is where an app is removed from an account.
func (e Endpoints) UninstallURL() string {
	e = e.WithDefaults()
	return e.API + "/appinstalls/" + e.Version + "/external-install"
}

// IntrospectURL is where a token is described.
func (e Endpoints) IntrospectURL() string { return e.TokenURL() + "/introspect" }
