package install_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// recordVerifiers notes the PKCE verifier of each code that is redeemed.
func recordVerifiers(k *installtest.Kit) func() []string {
	var mu sync.Mutex
	var verifiers []string
	k.App("hbdev").Client.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
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
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	verifiers := recordVerifiers(k)
	back := k.SandboxURL + "/marketplace/install?id=7"
	start := "/hubspot/hbdev/callback?step=authorize&returnUrl=" + url.QueryEscape(back)
	location, cookies := k.Begin(start, "acme")
	if !strings.HasPrefix(location, back+"&state=") || cookies == "" {
		t.Fatalf("step=authorize leads to %q with cookies %q", location, cookies)
	}
	// HubSpot made this request itself, so it has no PKCE challenge.
	query := url.Values{
		"client_id": {sidecartest.ClientID}, "redirect_uri": {sidecartest.RedirectURI}, "scope": {"oauth crm.objects.contacts.read"},
		"state": {sidecartest.QueryOf(t, location, "state")}, "_sandbox_approve": {strconv.FormatInt(sandbox.DemoHubID, 10)},
	}
	callback := k.Do(http.MethodGet, k.SandboxURL+"/oauth/authorize?"+query.Encode(), nil).Header.Get("Location") +
		"&step=finalize&returnUrl=" + url.QueryEscape(back)
	if got := k.Do(http.MethodGet, callback, nil); got.StatusCode != http.StatusBadRequest {
		t.Errorf("another browser: %s", got.Status)
	}
	got := k.Do(http.MethodGet, callback, nil, "Cookie", cookies)
	if got.StatusCode != http.StatusFound || got.Header.Get("Location") != back {
		t.Errorf("step=finalize: %s to %q: %s", got.Status, got.Header.Get("Location"), got.Text)
	}
	if one := k.Get("/hubspot/connections/hbdev/acme", ""); one.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", one.Status, one.Text)
	}
	if got := verifiers(); !slices.Equal(got, []string{""}) {
		t.Errorf("the code was redeemed with the verifiers %q, want none", got)
	}

	for name, target := range map[string]string{
		"foreign address": "/hubspot/hbdev/callback?step=authorize&returnUrl=https://evil.example/",
		"no address":      "/hubspot/hbdev/callback?step=authorize",
	} {
		if got := k.Do(http.MethodGet, target, nil, installtest.SessionHeader, "acme"); got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" {
			t.Errorf("%s: %s to %q", name, got.Status, got.Header.Get("Location"))
		}
	}
	if got := k.Do(http.MethodGet, start, nil); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, "sign in first") {
		t.Errorf("without a session: %s: %s", got.Status, got.Text)
	}
	foreign := k.Approve(k.InstallLink("hbdev", "globex", ""), sandbox.DemoHubID) + "&step=finalize&returnUrl=https://evil.example/"
	if got := k.Do(http.MethodGet, foreign, nil); got.StatusCode != http.StatusOK || got.Header.Get("Location") != "" {
		t.Errorf("finalize with a foreign address: %s to %q", got.Status, got.Header.Get("Location"))
	}
}
