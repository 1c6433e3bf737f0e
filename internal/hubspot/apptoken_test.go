package hubspot_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const appAnswer = `{"token_type":"bearer","access_token":"` + accessToken + `","scopes":["a","b"],"expires_in":1800,"token_use":"client_credentials"}`

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	e := serve(t, answer(200, appAnswer))
	grant, err := e.client().ClientCredentials(t.Context(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if grant.AccessToken.Reveal() != accessToken || grant.ExpiresIn != 30*time.Minute || !slices.Equal(grant.Scopes, []string{"a", "b"}) {
		t.Errorf("grant = %+v", grant)
	}
	form := e.seen()[0].form
	if form.Get("grant_type") != "client_credentials" || form.Get("scope") != "a b" || form.Get("client_secret") == "" || form.Has("redirect_uri") {
		t.Errorf("form has %v", form)
	}
	if auth := e.seen()[0].head.Get("Authorization"); auth != "" {
		t.Error("the credentials are in a header as well")
	}
}

// TestClientCredentialsRefused: what HubSpot says of the app's own token is not
// taken for what it says of a grant.
func TestClientCredentialsRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]hubspot.Class{
		`{"error":"invalid_scope","status":"BAD_SCOPES","message":"missing or invalid scopes"}`: hubspot.ClassConnection,
		`{"status":"USER_LEVEL_CLIENT_CREDENTIALS_NOT_SUPPORTED"}`:                              hubspot.ClassConnection,
		`{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`:                                hubspot.ClassConnection,
		`{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`:                               hubspot.ClassMisconfigured,
		`<html>`: hubspot.ClassTransient,
	} {
		e := serve(t, answer(400, body))
		_, err := e.client().ClientCredentials(t.Context(), []string{"a"})
		if _, ok := errors.AsType[*hubspot.TokenError](err); !ok || hubspot.Classify(err) != want {
			t.Errorf("%s: class %v, error %v; want %v", body, hubspot.Classify(err), err, want)
		}
	}
}

// TestClientCredentialsDuringRotation: the second secret is tried as refreshes
// do it, and is the first to be tried from then on.
func TestClientCredentialsDuringRotation(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("client_secret") != "new-secret" {
			answer(400, `{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`)(w, r)
			return
		}
		answer(200, appAnswer)(w, r)
	})
	c := e.client()
	c.Credentials = hubspot.StaticCredentials{ClientID: "id", Secret: secret.New("old-secret"), NextSecret: secret.New("new-secret")}
	for range 2 {
		if _, err := c.ClientCredentials(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.seen()); n != 3 {
		t.Errorf("%d requests; want 3: both secrets, then the right one", n)
	}
}

func TestClientCredentialsWithoutScopes(t *testing.T) {
	t.Parallel()
	e := serve(t, answer(200, appAnswer))
	if _, err := e.client().ClientCredentials(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no scope") {
		t.Errorf("error %v", err)
	}
	if len(e.seen()) != 0 {
		t.Error("HubSpot was asked")
	}
}
