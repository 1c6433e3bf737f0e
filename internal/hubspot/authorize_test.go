package hubspot_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	clientID     = "11111111-2222-3333-4444-555555555555"
	clientSecret = "first-secret-1111"
	nextSecret   = "next-secret-2222"
	redirectURI  = "https://app.example.com/hubspot/hbdev/callback?a=b"
)

func credentials() hubspot.StaticCredentials {
	return hubspot.StaticCredentials{ClientID: clientID, Secret: secret.New(clientSecret)}
}

func TestAuthorizeURLEncoding(t *testing.T) {
	client := &hubspot.Client{Credentials: credentials(), RedirectURI: redirectURI}
	verifier := "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	got, err := client.AuthorizeURL(t.Context(), hubspot.AuthorizeRequest{
		Scopes:         []string{"oauth", "crm.objects.contacts.read"},
		OptionalScopes: []string{"crm.objects.deals.read", "x+y"},
		State:          "a b+c/d=&é",
		Verifier:       verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "https://app.hubspot.com/oauth/authorize" +
		"?client_id=" + clientID +
		"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" +
		"&code_challenge_method=S256" +
		"&optional_scope=crm.objects.deals.read%20x%2By" +
		"&redirect_uri=https%3A%2F%2Fapp.example.com%2Fhubspot%2Fhbdev%2Fcallback%3Fa%3Db" +
		"&response_type=code" +
		"&scope=oauth%20crm.objects.contacts.read" +
		"&state=a%20b%2Bc%2Fd%3D%26%C3%A9"
	if got != want {
		t.Errorf("AuthorizeURL() =\n%s, want\n%s", got, want)
	}
	if strings.Contains(got, clientSecret) {
		t.Error("the link holds the client secret")
	}
}

func TestAuthorizeURLAtOtherEndpoint(t *testing.T) {
	client := &hubspot.Client{
		Endpoints:   hubspot.Endpoints{Authorize: "http://localhost:4000/oauth/authorize"},
		Credentials: credentials(),
		RedirectURI: redirectURI,
	}
	link, err := client.AuthorizeURL(t.Context(), hubspot.AuthorizeRequest{
		Scopes: []string{"oauth"}, State: "s", Verifier: hubspot.NewVerifier(),
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "localhost:4000" || u.Path != "/oauth/authorize" {
		t.Errorf("link goes to %s%s", u.Host, u.Path)
	}
	if u.Query().Has("optional_scope") {
		t.Error("link has an optional_scope that was not asked for")
	}
}

func TestAuthorizeURLRefusesIncompleteRequests(t *testing.T) {
	whole := hubspot.AuthorizeRequest{Scopes: []string{"oauth"}, State: "s", Verifier: "v"}
	tests := map[string]struct {
		change func(*hubspot.AuthorizeRequest, *hubspot.Client)
		want   string
	}{
		"no scopes":       {func(r *hubspot.AuthorizeRequest, _ *hubspot.Client) { r.Scopes = nil }, "scopes"},
		"no state":        {func(r *hubspot.AuthorizeRequest, _ *hubspot.Client) { r.State = "" }, "state"},
		"no verifier":     {func(r *hubspot.AuthorizeRequest, _ *hubspot.Client) { r.Verifier = "" }, "verifier"},
		"no redirect URI": {func(_ *hubspot.AuthorizeRequest, c *hubspot.Client) { c.RedirectURI = "" }, "redirect_uri"},
		"no credentials":  {func(_ *hubspot.AuthorizeRequest, c *hubspot.Client) { c.Credentials = nil }, "credentials"},
		"no client id": {func(_ *hubspot.AuthorizeRequest, c *hubspot.Client) {
			c.Credentials = hubspot.StaticCredentials{Secret: secret.New(clientSecret)}
		}, "client_id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req, client := whole, &hubspot.Client{Credentials: credentials(), RedirectURI: redirectURI}
			tt.change(&req, client)
			_, err := client.AuthorizeURL(t.Context(), req)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one that names %q", err, tt.want)
			}
		})
	}
}

type failingSource struct{ err error }

func (s failingSource) Credentials(context.Context) (hubspot.Credentials, error) {
	return hubspot.Credentials{}, s.err
}

func TestCredentialSourceErrorIsTransient(t *testing.T) {
	down := errors.New("vault is down")
	client := &hubspot.Client{Credentials: failingSource{down}}
	_, err := client.Refresh(t.Context(), secret.New(refreshToken))
	if !errors.Is(err, down) || hubspot.Classify(err) != hubspot.ClassTransient {
		t.Errorf("error = %v of class %v, want a transient one that wraps the source's", err, hubspot.Classify(err))
	}
}

func TestNewVerifier(t *testing.T) {
	a, b := hubspot.NewVerifier(), hubspot.NewVerifier()
	if a == b || len(a) < 43 || len(a) > 128 {
		t.Errorf("verifiers %q and %q: want two different ones of 43 to 128 characters", a, b)
	}
	sum := sha256.Sum256([]byte(a))
	if len(base64.RawURLEncoding.EncodeToString(sum[:])) != 43 {
		t.Error("challenge has not 43 characters")
	}
}

func TestClientUUID(t *testing.T) {
	got := hubspot.ClientUUID(clientID)
	if got != hubspot.ClientUUID(" "+strings.ToUpper(clientID)) {
		t.Error("the UUID depends on how the client id is written")
	}
	if got == hubspot.ClientUUID("other") || got == clientID {
		t.Error("the UUID does not depend on the client id alone")
	}
	if len(got) != 36 || got[14] != '5' {
		t.Errorf("ClientUUID() = %q, want a version 5 UUID", got)
	}
	// Links that are already out hold this value: it must never change.
	if want := "0f7009a9-e05d-5ec3-a70a-2e10e69dbe37"; got != want {
		t.Errorf("ClientUUID() = %q, want %q", got, want)
	}
}
