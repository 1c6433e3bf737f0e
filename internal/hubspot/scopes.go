package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"
)

// ReadMissingScopes reads which scopes a call needed that HubSpot refused for
// want of them: a 403 of the category MISSING_SCOPES, whose errors name them,
// one of which is needed or all. It returns none for any other answer. The names
// are what HubSpot, or a box in between, has written: they are for comparison.
func ReadMissingScopes(status int, body []byte) (needed []string) {
	if status != http.StatusForbidden {
		return nil
	}
	var answer struct {
		Category string `json:"category"`
		Errors   []struct {
			Context struct {
				Granular []string `json:"requiredGranularScopes"`
				Required []string `json:"requiredScopes"`
			} `json:"context"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Category != "MISSING_SCOPES" {
		return nil
	}
	for _, e := range answer.Errors {
		needed = slices.Concat(needed, e.Context.Granular, e.Context.Required)
	}
	return needed
}
