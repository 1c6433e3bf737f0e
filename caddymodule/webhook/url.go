package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// checkPublicURL refuses what HubSpot cannot have called.
func checkPublicURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return errors.New("public_url: give the target URL of the app, as in https://app.example.com/hubspot/webhooks")
	case u.Fragment != "" || strings.Contains(value, "?"):
		return errors.New("public_url: leave out the query and the fragment; the query of a request counts anyway")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("public_url: HubSpot calls https, and plain http only on this machine, in the sandbox")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func expandPublicURL(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	text, err := settings.Expand(value)
	if err != nil {
		return "", fmt.Errorf("public_url: %w", err)
	}
	return text, checkPublicURL(text)
}

// parseVersions reads the setting signatures.
func parseVersions(names []string) ([]hubspot.SignatureVersion, error) {
	if len(names) == 0 {
		return []hubspot.SignatureVersion{hubspot.SignatureV3}, nil
	}
	var versions []hubspot.SignatureVersion
	for _, name := range names {
		version := hubspot.SignatureVersion(name)
		switch version {
		case hubspot.SignatureV1, hubspot.SignatureV2, hubspot.SignatureV3:
		default:
			return nil, fmt.Errorf("signatures: %q is none of v1, v2 and v3", name)
		}
		if slices.Contains(versions, version) {
			return nil, fmt.Errorf("signatures: %s is there twice", name)
		}
		versions = append(versions, version)
	}
	return versions, nil
}

// urlOf returns what HubSpot has called: the public URL, or what the request says
// if that is empty, with the query as it was sent.
func urlOf(publicURL string) func(*http.Request) string {
	return func(r *http.Request) string {
		target := sentTarget(r)
		if publicURL == "" {
			return schemeAndHost(r) + target
		}
		if _, query, ok := strings.Cut(target, "?"); ok {
			return publicURL + "?" + query
		}
		return publicURL
	}
}

// sentTarget is the path and query as they were sent, before handlers such as
// handle_path have changed the URL.
func sentTarget(r *http.Request) string {
	original := r
	if sent, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		original = &sent
	}
	if strings.HasPrefix(original.RequestURI, "/") || original.URL == nil {
		return original.RequestURI
	}
	return original.URL.RequestURI()
}

// schemeAndHost are those of the client's request: where it came through a proxy
// that is trusted, that one says what they were.
func schemeAndHost(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		scheme = firstOf(r.Header.Get("X-Forwarded-Proto"), scheme)
		host = firstOf(r.Header.Get("X-Forwarded-Host"), host)
	}
	return scheme + "://" + host
}

// firstOf is the first value of a list, or else what is there without it.
func firstOf(list, otherwise string) string {
	first, _, _ := strings.Cut(list, ",")
	if first = strings.TrimSpace(first); first == "" {
		return otherwise
	}
	return first
}
