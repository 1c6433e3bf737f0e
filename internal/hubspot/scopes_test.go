package hubspot_test

import (
	"reflect"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestReadScopeNeeds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   []hubspot.ScopeNeed
	}{
		"one or more": {403, `{"status":"error","message":"This app hasn't been granted all required scopes to make this call.","errors":[{"message":"One or more of the following scopes are required.","context":{"requiredGranularScopes":["crm.objects.deals.read","crm.schemas.deals.read"]}}],"category":"MISSING_SCOPES"}`, []hubspot.ScopeNeed{{Scopes: []string{"crm.objects.deals.read", "crm.schemas.deals.read"}}}},
		"all":         {403, `{"errors":[{"message":"All of the following scopes are required.","context":{"requiredScopes":["a","b"]}}],"category":"MISSING_SCOPES"}`, []hubspot.ScopeNeed{{All: true, Scopes: []string{"a", "b"}}}},
		"several":     {403, `{"errors":[{"message":"All of the following scopes are required.","context":{"requiredScopes":["a"]}},{"context":{"requiredGranularScopes":["b"]}},{}],"category":"MISSING_SCOPES"}`, []hubspot.ScopeNeed{{All: true, Scopes: []string{"a"}}, {Scopes: []string{"b"}}}},
		"no names":    {403, `{"category":"MISSING_SCOPES"}`, nil},
		"other":       {403, `{"errors":[{"context":{"requiredScopes":["a"]}}],"category":"FORBIDDEN"}`, nil},
		"not a 403":   {400, `{"errors":[{"context":{"requiredScopes":["a"]}}],"category":"MISSING_SCOPES"}`, nil},
		"no JSON":     {403, `<html>`, nil},
	} {
		if got := hubspot.ReadScopeNeeds(tc.status, []byte(tc.body)); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
