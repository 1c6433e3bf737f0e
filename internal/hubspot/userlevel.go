package hubspot

import (
	"encoding/json"
	"net/http"
	"strings"
)

// userLevelRefusal is what HubSpot says to a user-level token at an endpoint that
// takes tokens of accounts only (seen in July 2026).
const userLevelRefusal = "user level oauth token is not allowed"

// RefusesUserLevel reports whether an answer refuses a token because it is a
// user-level one: a 403 that says so. The words are all that tells it apart.
func RefusesUserLevel(status int, body []byte) bool {
	if status != http.StatusForbidden {
		return false
	}
	var answer struct {
		Message string `json:"message"`
	}
	return json.Unmarshal(body, &answer) == nil && strings.Contains(strings.ToLower(answer.Message), userLevelRefusal)
}
