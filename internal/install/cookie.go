package install

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
)

// Names of the cookies that bind an install to a browser. Each install has
// one of its own, so that two tabs do not get into each other's way. The
// __Host- prefix keeps other hosts of the domain from setting it (RFC 6265bis
// 4.1.3.2); on http://localhost browsers refuse it.
const (
	flowCookiePrefix      = "hubspot-connect-"
	hostCookiePrefix      = "__Host-" + flowCookiePrefix
	maxFlows              = 5
	flowCookieIDLength    = 16
	flowCookieValueDomain = "hubspot_auth browser binding\x00"
	flowCookieNameDomain  = "hubspot_auth cookie name\x00"
)

// newBrowserBinding makes the secret that the browser keeps, and its hash,
// which goes into the state.
func newBrowserBinding() (value, hash string) {
	value = rand.Text()
	return value, browserHash(value)
}

func browserHash(value string) string {
	sum := sha256.Sum256([]byte(flowCookieValueDomain + value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// flowCookieName is the name of the cookie that belongs to a sealed state.
// It can be told without opening the state, so that the cookie of a state
// that is expired can be cleared as well.
func flowCookieName(secure bool, sealedState string) string {
	sum := sha256.Sum256([]byte(flowCookieNameDomain + sealedState))
	id := hex.EncodeToString(sum[:])[:flowCookieIDLength]
	if secure {
		return hostCookiePrefix + id
	}
	return flowCookiePrefix + id
}

// newFlowCookie makes a binding cookie. An empty value clears it. secure is
// false for installs that come back to http://localhost.
func newFlowCookie(secure bool, name, value string) *http.Cookie {
	c := &http.Cookie{
		Name:     name,
		Value:    value,
		Path:     "/",
		MaxAge:   int(oauthstate.Lifetime.Seconds()),
		Secure:   secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// holdsBinding reports whether the browser brings the cookie that hash was
// made of.
func holdsBinding(r *http.Request, name, hash string) bool {
	for _, c := range r.CookiesNamed(name) {
		if subtle.ConstantTimeCompare([]byte(browserHash(c.Value)), []byte(hash)) == 1 {
			return true
		}
	}
	return false
}

// flowCookies are the names of the binding cookies that the browser brings,
// the oldest first as browsers send them (RFC 6265 5.4).
func flowCookies(r *http.Request, secure bool) []string {
	prefix := flowCookiePrefix
	if secure {
		prefix = hostCookiePrefix
	}
	var names []string
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, prefix) && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

// surplusCookies clears the oldest binding cookies where a browser has begun
// many installs, so that its Cookie header does not outgrow the limits.
func surplusCookies(r *http.Request, secure bool) []*http.Cookie {
	names := flowCookies(r, secure)
	var cleared []*http.Cookie
	for len(names) >= maxFlows {
		cleared = append(cleared, newFlowCookie(secure, names[0], ""))
		names = names[1:]
	}
	return cleared
}
