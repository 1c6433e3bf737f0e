package caddymodule

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// recordVerifiers notes the PKCE verifier of each code that is redeemed.
func recordVerifiers(t *testing.T, h *harness) func() []string {
	t.Helper()
	hub, ok := h.App().app("hbdev")
	if !ok {
		t.Fatal("no app hbdev")
	}
	var mu sync.Mutex
	var verifiers []string
	hub.client.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		mu.Lock()
		verifiers = append(verifiers, form.Get("code_verifier"))
		mu.Unlock()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return http.DefaultTransport.RoundTrip(r)
	})}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(verifiers)
	}
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAuthMarketplaceFlow(t *testing.T) {
	h := startAuth(t)
	verifiers := recordVerifiers(t, h)
	back := h.SandboxURL + "/marketplace/install?id=7"
	start := "/hubspot/hbdev/callback?step=authorize&returnUrl=" + url.QueryEscape(back)
	location, cookies := begin(t, h, start, "acme")
	if !strings.HasPrefix(location, back+"&state=") || cookies == "" {
		t.Fatalf("step=authorize leads to %q with cookies %q", location, cookies)
	}
	// HubSpot made this request itself, so it has no PKCE challenge.
	query := url.Values{
		"client_id": {testClientID}, "redirect_uri": {testRedirectURI}, "scope": {"oauth crm.objects.contacts.read"},
		"state": {queryOf(t, location, "state")}, "_sandbox_approve": {strconv.FormatInt(sandbox.DemoHubID, 10)},
	}
	callback := h.Do(http.MethodGet, h.SandboxURL+"/oauth/authorize?"+query.Encode(), nil).Header.Get("Location") +
		"&step=finalize&returnUrl=" + url.QueryEscape(back)
	if got := h.Do(http.MethodGet, callback, nil); got.StatusCode != http.StatusBadRequest {
		t.Errorf("another browser: %s", got.Status)
	}
	got := h.Do(http.MethodGet, callback, nil, "Cookie", cookies)
	if got.StatusCode != http.StatusFound || got.Header.Get("Location") != back {
		t.Errorf("step=finalize: %s to %q: %s", got.Status, got.Header.Get("Location"), got.Text)
	}
	if one := h.Get("/hubspot/connections/hbdev/acme", ""); one.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", one.Status, one.Text)
	}
	if got := verifiers(); !slices.Equal(got, []string{""}) {
		t.Errorf("the code was redeemed with the verifiers %q, want none", got)
	}

	for name, target := range map[string]string{
		"foreign address": "/hubspot/hbdev/callback?step=authorize&returnUrl=https://evil.example/",
		"no address":      "/hubspot/hbdev/callback?step=authorize",
	} {
		if got := h.Do(http.MethodGet, target, nil, "X-Test-Session", "acme"); got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" {
			t.Errorf("%s: %s to %q", name, got.Status, got.Header.Get("Location"))
		}
	}
	if got := h.Do(http.MethodGet, start, nil); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, "sign in first") {
		t.Errorf("without a session: %s: %s", got.Status, got.Text)
	}
	foreign := h.Approve(h.InstallLink("hbdev", "globex"), sandbox.DemoHubID) + "&step=finalize&returnUrl=https://evil.example/"
	if got := h.Do(http.MethodGet, foreign, nil); got.StatusCode != http.StatusOK || got.Header.Get("Location") != "" {
		t.Errorf("finalize with a foreign address: %s to %q", got.Status, got.Header.Get("Location"))
	}
}
