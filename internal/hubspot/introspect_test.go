package hubspot_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestIntrospect(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   hubspot.Introspection
		fails  bool
		class  hubspot.Class
	}{
		"active": {
			status: 200,
			body: `{"active":true,"token":"` + refreshToken + `","client_id":"other","hub_id":7,"user_id":8,"scopes":["oauth","a b"],
				"expires_in":1799,"token_use":"access_token"}`,
			want: hubspot.Introspection{Active: true, ClientID: "other", HubID: 7, UserID: 8, Scopes: []string{"oauth"}, ExpiresIn: 1799 * time.Second},
		},
		"sparse":             {status: 200, body: `{"active":true}`, want: hubspot.Introspection{Active: true}},
		"unknown":            {status: 200, body: `{"active":false,"hub_id":7}`},
		"endless":            {status: 200, body: `{"active":true,"expires_in":1e12}`, want: hubspot.Introspection{Active: true, ExpiresIn: 24 * time.Hour}},
		"says nothing":       {status: 200, body: `{"token":"` + refreshToken + `"}`, fails: true},
		"not JSON":           {status: 200, body: refreshToken, fails: true},
		"HubSpot down":       {status: 503, fails: true},
		"wrong secret":       {status: 400, body: `{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`, fails: true, class: hubspot.ClassMisconfigured},
		"endpoint not there": {status: 404, body: `<html>` + refreshToken, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			got, err := e.client().Introspect(t.Context(), secret.New(refreshToken), hubspot.KindRefreshToken)
			if (err != nil) != tt.fails || hubspot.Classify(err) != tt.class || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Introspect() = %+v, %v; want %+v", got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), refreshToken) {
				t.Errorf("the error shows the token: %v", err)
			}
			requests := e.seen()
			if len(requests) != 1 || requests[0].path != "/oauth/2026-09/token/introspect" {
				t.Fatalf("requests = %+v, want one to the dated introspection endpoint", requests)
			}
			checkForm(t, requests[0], url.Values{
				"token": {refreshToken}, "token_type_hint": {"refresh_token"},
				"client_id": {clientID}, "client_secret": {clientSecret},
			})
		})
	}
}
