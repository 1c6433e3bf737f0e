package hubspot_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzTokenAnswer feeds arbitrary answers to the token endpoint's client: it
// gives either a usable grant or an error that says what to do and repeats
// nothing.
func FuzzTokenAnswer(f *testing.F) {
	f.Add(200, []byte(goodAnswer), "")
	f.Add(400, []byte(`{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`), "1")
	f.Add(400, []byte(badSecret), "Mon, 23 Nov 2026 12:00:00 GMT")
	f.Add(503, []byte("<html>"), "120")
	f.Add(400, []byte(`{"message":"Hub 5 is unknown to this Hublet","correctHublet":"eu1"}`), "")
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter string) {
		client := &hubspot.Client{
			HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: status,
					Header:     http.Header{"Retry-After": {retryAfter}},
					Body:       io.NopCloser(bytes.NewReader(body)),
					Request:    r,
				}, nil
			})},
			Credentials: credentials(),
			RedirectURI: redirectURI,
		}
		grant, err := client.Exchange(t.Context(), "code", "verifier")
		if err == nil {
			checkUsable(t, grant)
			return
		}
		te, ok := errors.AsType[*hubspot.TokenError](err)
		if !ok {
			t.Fatalf("error %T %v, want a TokenError", err, err)
		}
		if te.RetryAfter < 0 || te.RetryAfter > 24*time.Hour {
			t.Errorf("RetryAfter = %v", te.RetryAfter)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("error text %q is not plain", err)
		}
		if status >= 500 && te.Class != transient {
			t.Errorf("HTTP %d is of class %v", status, te.Class)
		}
		_, err = client.Refresh(t.Context(), secret.New(refreshToken))
		if hubspot.Classify(err) == badCode {
			t.Error("a refresh is told that its code is bad")
		}
		if len(body) == 0 && hubspot.Classify(err) == dead {
			t.Error("an empty answer kills a grant")
		}
	})
}

func checkUsable(t *testing.T, grant hubspot.Grant) {
	t.Helper()
	if grant.AccessToken.IsZero() || grant.RefreshToken.IsZero() || grant.HubID <= 0 || grant.UserID < 0 {
		t.Errorf("grant %+v lacks something", grant)
	}
	if grant.ExpiresIn <= 0 || grant.ExpiresIn > 24*time.Hour {
		t.Errorf("ExpiresIn = %v", grant.ExpiresIn)
	}
	header := http.Header{"Authorization": {"Bearer " + grant.AccessToken.Reveal()}}
	if err := header.Write(io.Discard); err != nil || strings.ContainsAny(grant.AccessToken.Reveal(), "\r\n\x00 ") {
		t.Error("access token cannot stand in a header")
	}
	for _, scope := range grant.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\n") {
			t.Errorf("scope %q", scope)
		}
	}
}
