package auth

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// The JSON config is checked as the Caddyfile is.
func TestAuthJSONRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ config, want string }{
		"base_path":            {`{"base_path":"x"}`, "base_path"},
		"return_to":            {`{"return_to":["https://*/"]}`, "return_to"},
		"sign_in without user": {`{"sign_in":"https://app.example.com/"}`, "needs the setting user"},
		"rate":                 {`{"rate":"0 1m"}`, "rate of 0"},
		"unknown":              {`{"basepath":"/x"}`, "basepath"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a Auth
			err := caddy.StrictUnmarshalJSON([]byte(tt.config), &a)
			if err == nil {
				_, err = a.config()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want an error with %q", err, tt.want)
			}
		})
	}
}
