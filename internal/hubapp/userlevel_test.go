package hubapp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// A grant of a user-level app has a person, or is refused for now.
func TestExchangeFindsThePerson(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		token, about string
		person       int64
	}{
		"told with the token": {`,"user_id":7`, `{"active":false}`, 7},
		"asked for":           {``, `{"active":true,"hub_id":1,"user_id":8}`, 8},
		"not told":            {``, `{"active":true,"hub_id":1}`, 0},
		"gone":                {``, `{"active":false}`, 0},
		"of another account":  {``, `{"active":true,"hub_id":2,"user_id":8}`, 0},
		"no JSON":             {``, `<html>`, 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.HasSuffix(r.URL.Path, "/introspect") {
				_, _ = fmt.Fprint(w, tc.about)
				return
			}
			_, _ = fmt.Fprintf(w, `{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":1800,"hub_id":1%s}`, tc.token)
		}))
		t.Cleanup(server.Close)
		app := &App{Client: &hubspot.Client{
			Endpoints: hubspot.Endpoints{API: server.URL}, RedirectURI: "http://localhost/cb",
			Credentials: hubspot.StaticCredentials{ClientID: "id", Secret: secret.New("s")},
		}}
		app.Settings.UserLevel = true
		grant, err := app.Exchange(t.Context(), "code", "")
		if grant.UserID != tc.person || (err == nil) != (tc.person != 0) || err != nil && hubspot.Classify(err) != hubspot.ClassTransient {
			t.Errorf("%s: %d, %v", name, grant.UserID, err)
		}
		app.Settings.UserLevel = false
		if _, err := app.Exchange(t.Context(), "code", ""); err != nil {
			t.Errorf("%s, of an account: %v", name, err)
		}
	}
}
