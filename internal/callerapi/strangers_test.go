package callerapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// Wrong keys cost neither the store nor HubSpot anything, and do not fill the
// log.
func TestFloodOfWrongKeys(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	begun := time.Now()
	const tries = 2_000
	for i := range tries {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/hubspot/connections/hbdev/acme", nil)
		r.Header.Set("Authorization", fmt.Sprintf("Bearer made-up-key-%020d", i))
		w := httptest.NewRecorder()
		k.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Fatalf("try %d: %d", i, w.Code)
		}
	}
	if n := k.Store.Calls(); n != 0 || k.TokenCalls() != 0 {
		t.Errorf("the store was asked %d times, HubSpot %d times", n, k.TokenCalls())
	}
	k.CheckLines("caller's request refused", tries, begun)
}

// Somebody who may not see a user learns nothing of whether there is one: the
// answer is the same, and the store is not asked.
func TestUsersCannotBeProbed(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	k.Connect("acme", sandbox.DemoHubID)
	before, asked := k.Store.Calls(), k.TokenCalls()
	for _, key := range []string{"", "some-other-key-0123456789", installtest.LimitedKey} {
		for _, tc := range []struct{ method, target string }{
			{http.MethodGet, "/hubspot/connections/hbdev/USER"},
			{http.MethodDelete, "/hubspot/connections/hbdev/USER"},
			{http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=USER"},
			{http.MethodGet, "/hubspot/hbdev/callback?code=USER&state=USER"},
			{http.MethodGet, "/hubspot/hbdev/callback?error=access_denied&state=USER"},
			{http.MethodGet, "/hubspot/hbdev/connect?userForeignIdentifier=USER"},
		} {
			var answers [2]string
			for i, user := range []string{"acme", "nobody"} {
				var header []string
				if key != "" {
					header = []string{"Authorization", "Bearer " + key}
				}
				got := k.Do(tc.method, strings.ReplaceAll(tc.target, "USER", user), nil, header...)
				if got.StatusCode < 400 || got.StatusCode == http.StatusNotFound {
					t.Errorf("%s %s: %s", tc.method, tc.target, got.Status)
				}
				got.Header.Del("Date")
				// Two names of different lengths make bodies of different
				// lengths.
				got.Header.Del("Content-Length")
				text := fmt.Sprint(got.Status, got.Header, got.Text)
				answers[i] = strings.ReplaceAll(anyID.ReplaceAllString(text, "ID"), user, "USER")
			}
			if answers[0] != answers[1] {
				t.Errorf("%s %s tells who is there:\n%s\n%s", tc.method, tc.target, answers[0], answers[1])
			}
		}
	}
	if n := k.Store.Calls() - before; n != 0 || k.TokenCalls() != asked {
		t.Errorf("the store was asked %d times, HubSpot %d times", n, k.TokenCalls()-asked)
	}
}

var anyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// A caller who asks for users that are not there, one after the other, is
// slowed down; those of others, and what does not ask the store, are not.
func TestUnknownUsersAreBudgeted(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Config: sidecartest.Config{Callers: []access.CallerConfig{installtest.Limited(t)}}})
	before := k.Store.Calls()
	var refused int
	begun := time.Now()
	for i := range 200 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://localhost/hubspot/connections/hbdev/nobody-%d", i), nil)
		r.Header.Set("Authorization", "Bearer "+sidecartest.CallerKey)
		w := httptest.NewRecorder()
		k.Handler.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusNotFound:
		case http.StatusTooManyRequests:
			refused++
			if w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"subCategory":"rate_limited"`) {
				t.Fatalf("Retry-After %q, %s", w.Header().Get("Retry-After"), w.Body)
			}
		default:
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
	}
	most := int64(30 + 10*(int(time.Since(begun).Seconds())+1))
	if asked := k.Store.Calls() - before; asked > most || asked+int64(refused) != 200 {
		t.Errorf("the store was asked %d times, at most %d are allowed; %d were refused", asked, most, refused)
	}
	if got := k.As(installtest.LimitedKey, http.MethodGet, "/hubspot/connections/hbdev/globex-1"); got.StatusCode != http.StatusNotFound {
		t.Errorf("another caller: %s", got.Status)
	}
	if got := k.Get("/hubspot/auth/hbdev?userForeignIdentifier=nobody-1", ""); got.StatusCode != http.StatusOK {
		t.Errorf("a link for a new user: %s", got.Status)
	}
}

// A person whose browser comes to an endpoint for callers is shown a page, and
// is asked for no password.
func TestBrowserAtACallersEndpoint(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, target := range []string{"/hubspot/auth/hbdev?userForeignIdentifier=acme", "/hubspot/connections/hbdev", "/hubspot/connections/HBDEV/acme"} {
		got := k.Do(http.MethodGet, target, nil, "Accept", browser)
		if got.StatusCode != http.StatusForbidden || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") || got.Header.Get("Www-Authenticate") != "" ||
			!strings.Contains(got.Text, "for programs") || !strings.Contains(got.Text, `href="/hubspot/hbdev/connect"`) {
			t.Errorf("%s: %s: %s", target, got.Status, got.Text)
		}
		installtest.CheckBrowserAnswer(t, got)
	}
	if got := k.Do(http.MethodGet, "/hubspot/connections/other", nil, "Accept", browser); got.StatusCode != http.StatusForbidden || strings.Contains(got.Text, "href=") {
		t.Errorf("an unknown app: %s: %s", got.Status, got.Text)
	}
	for name, header := range map[string][]string{
		"a program":             {"Accept", "application/json"},
		"a program like curl":   {"Accept", "*/*"},
		"one that says nothing": nil,
		"one with a wrong key":  {"Accept", browser, "Authorization", "Bearer some-other-key-0123456789"},
	} {
		got := k.Do(http.MethodGet, "/hubspot/connections/hbdev", nil, header...)
		sidecartest.WantOwnError(t, got, 401, "caller_unauthenticated")
		if got.Header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: no challenge", name)
		}
	}
	if got := k.Do(http.MethodGet, "/hubspot/connections/hbdev", nil, "Accept", browser, "Authorization", "Bearer "+sidecartest.CallerKey); got.StatusCode != http.StatusOK {
		t.Errorf("with a key: %s", got.Status)
	}
}
