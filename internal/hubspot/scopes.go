package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// ScopeNeed is what a call needs of the scopes that a connection has granted:
// one of Scopes, or all of them.
type ScopeNeed struct {
	All    bool
	Scopes []string
}

// ReadScopeNeeds reads which scopes a call needed that HubSpot refused for want
// of them: a 403 of the category MISSING_SCOPES, each of whose errors names
// some, one of which is needed or all. It returns none for any other answer. The
// names are what HubSpot, or a box in between, has written: they are for
// comparison.
func ReadScopeNeeds(status int, body []byte) (needs []ScopeNeed) {
	if status != http.StatusForbidden {
		return nil
	}
	var answer struct {
		Category string `json:"category"`
		Errors   []struct {
			Message string `json:"message"`
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
		if scopes := slices.Concat(e.Context.Granular, e.Context.Required); len(scopes) > 0 {
			// "One or more of the following scopes are required." or "All of …"
			needs = append(needs, ScopeNeed{All: strings.HasPrefix(e.Message, "All "), Scopes: scopes})
		}
	}
	return needs
}
