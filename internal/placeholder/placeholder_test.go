package placeholder_test

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

func TestForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		value        string
		secret, some bool
	}{
		{"", false, false},
		{"plain", false, false},
		{"{env.X}", true, true},
		{"{file./run/secrets/x}", true, true},
		{"{env.X}\n", false, true},
		{" {env.X}", false, true},
		{"a{env.X}", false, true},
		{"{env.X}{env.Y}", false, true},
		{"{env.}", false, true},
		{"{env.{env.X}}", false, true},
		{"{http.request.header.X}", false, true},
		{"{$X}", false, true},
		{"${X}", false, true},
		{"https://{env.HOST}/cb", false, true},
		{"{half", false, false},
		{"half}", false, false},
		{"}{", false, false},
	} {
		if got := placeholder.IsSecret(tc.value); got != tc.secret {
			t.Errorf("IsSecret(%q) = %v", tc.value, got)
		}
		if got := placeholder.In(tc.value); got != tc.some {
			t.Errorf("In(%q) = %v", tc.value, got)
		}
	}
}
