package hubapp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Where no token can be had, callers are told why, as far as that is known.
func TestWhyThereIsNoToken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause error
		want  string
	}{
		"anything":          {errors.New("x"), "HubSpot gave no new one. Try again soon."},
		"down":              {&hubspot.TokenError{HTTPStatus: 503}, "HubSpot gave no new one. Try again soon."},
		"another portal":    {fmt.Errorf("%w: 2 in place of 1", connection.ErrOtherPortal), "that of another HubSpot account"},
		"a word":            {&hubspot.TokenError{Class: hubspot.ClassConnection, Status: "BAD_MOOD"}, "says BAD_MOOD. It is asked again"},
		"a word and a text": {&hubspot.TokenError{Class: hubspot.ClassConnection, Hublet: "eu1", Message: "Hub 5 is unknown"}, `says wrong_hublet ("Hub 5 is unknown").`},
		"in between":        {&hubspot.TokenError{HTTPStatus: 403, InBetween: true}, "something between here and HubSpot answered, an egress proxy or HubSpot's edge."},
		"migration":         {&hubspot.TokenError{HTTPStatus: 477, Migrating: true}, "moving the account to another data centre."},
	} {
		e := (&App{Name: "a"}).ConnectionError("acme", fmt.Errorf("%w: %w", connection.ErrTokenUnavailable, tc.cause))
		if e.SubCategory != apierror.TokenUnavailable || !strings.HasPrefix(e.Message, "There is no valid access token at the moment and ") ||
			!strings.Contains(e.Message, tc.want) {
			t.Errorf("%s: %v", name, e)
		}
	}
}
