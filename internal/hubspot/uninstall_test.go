package hubspot_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestUninstall(t *testing.T) {
	const access = "CJ-access-token"
	tests := map[string]struct {
		status       int
		body         string
		fails        bool
		refused      bool
		final        bool
		wantCategory string
	}{
		"uninstalled":    {status: 204},
		"token expired":  {status: 401, body: `{"status":"error","category":"EXPIRED_AUTHENTICATION","message":"x"}`, fails: true, refused: true, wantCategory: "EXPIRED_AUTHENTICATION"},
		"user level":     {status: 403, body: `{"status":"error","message":"User level OAuth token is not allowed for this endpoint."}`, fails: true, final: true},
		"proxy says no":  {status: 403, body: `<html>blocked</html>`, fails: true},
		"rate limited":   {status: 429, body: `{"status":"error","category":"RATE_LIMITS","message":"x"}`, fails: true, wantCategory: "RATE_LIMITS"},
		"not there":      {status: 404, body: `<html>`, fails: true},
		"HubSpot down":   {status: 503, fails: true},
		"token in words": {status: 400, body: `{"category":"` + access + `","message":"` + access + `"}`, fails: true, final: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			err := e.client().Uninstall(t.Context(), secret.New(access))
			if (err != nil) != tt.fails {
				t.Fatalf("Uninstall() = %v", err)
			}
			requests := e.seen()
			if len(requests) != 1 || requests[0].head.Get("Authorization") != "Bearer "+access || requests[0].path != "/appinstalls/2026-09/external-install" {
				t.Fatalf("requests = %+v, want one to the dated uninstall endpoint", requests)
			}
			if err == nil {
				return
			}
			got, ok := errors.AsType[*hubspot.UninstallError](err)
			if !ok || got.TokenRefused != tt.refused || got.Final != tt.final || got.Category != tt.wantCategory {
				t.Errorf("Uninstall() = %+v", got)
			}
			if strings.Contains(err.Error(), access) {
				t.Errorf("the error has the token: %v", err)
			}
		})
	}
}
