package sandbox

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// checkRedirectURI applies HubSpot's rules for redirect URLs: https, or http
// on localhost, and a host name rather than an IP address.
func checkRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return errors.New("must be an absolute URL without a fragment")
	}
	if _, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil {
		return errors.New("IP addresses are not supported; use http://localhost or a domain name")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLocalhost(u.Hostname()) {
		return nil
	}
	return errors.New("must be https, or http://localhost for testing")
}

// allowsRedirect reports why uri may not be used with the app, if it may not.
func (a *App) allowsRedirect(uri string) error {
	if len(a.RedirectURIs) > 0 {
		if slices.Contains(a.RedirectURIs, uri) {
			return nil
		}
		return errors.New("it is none of the app's registered redirect URLs, which are compared exactly")
	}
	return checkRedirectURI(uri)
}

// secretMatches compares in constant time with both secrets.
func (a *App) secretMatches(given string) bool {
	text := secret.New(given)
	current, next := a.ClientSecret.Equal(text), a.ClientSecretNext.Equal(text)
	return given != "" && (current || next)
}
