package install

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestFlowCookie(t *testing.T) {
	t.Parallel()
	value, hash := newBrowserBinding()
	name := flowCookieName(true, "the-state")
	c := newFlowCookie(true, name, value)
	want := regexp.MustCompile(`^__Host-hubspot-connect-[0-9a-f]{16}=[A-Z2-7]{26}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$`)
	if !want.MatchString(c.String()) {
		t.Errorf("cookie is %q", c)
	}
	plain := newFlowCookie(false, flowCookieName(false, "the-state"), value)
	if strings.Contains(plain.String(), "Secure") || strings.HasPrefix(plain.Name, "__Host-") {
		t.Errorf("cookie for http://localhost is %q", plain)
	}
	if cleared := newFlowCookie(true, name, "").String(); !strings.Contains(cleared, "Max-Age=0") || !strings.Contains(cleared, "Secure") {
		t.Errorf("clearing cookie is %q", cleared)
	}
	if flowCookieName(true, "other-state") == name {
		t.Error("two installs share a cookie")
	}

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if holdsBinding(r, name, hash) {
		t.Error("a browser without the cookie is taken")
	}
	r.AddCookie(&http.Cookie{Name: name, Value: "another"})
	if holdsBinding(r, name, hash) {
		t.Error("another value is taken")
	}
	r.AddCookie(c)
	if !holdsBinding(r, name, hash) {
		t.Error("the cookie is not taken beside one of the same name")
	}
	if holdsBinding(r, flowCookieName(true, "other-state"), hash) {
		t.Error("the cookie of another install is taken")
	}
}

func TestSurplusCookies(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: "x"})
	for i := range maxFlows + 1 {
		r.AddCookie(&http.Cookie{Name: hostCookiePrefix + strconv.Itoa(i), Value: "x"})
	}
	cleared := surplusCookies(r, true)
	if len(cleared) != 2 || cleared[0].Name != hostCookiePrefix+"0" || cleared[1].Name != hostCookiePrefix+"1" || cleared[0].MaxAge >= 0 {
		t.Errorf("cleared %v, want the two oldest", cleared)
	}
	if other := surplusCookies(r, false); len(other) != 0 {
		t.Errorf("cleared %v of another kind", other)
	}
}
