// Package placeholder knows what stands in a config for a value that is known
// only when the config is loaded, such as {env.HUBSPOT_CLIENT_ID} or
// {file./run/secrets/hubspot_client_id}. How a placeholder is expanded is the
// caller's: a function that Caddy's replacer is behind, as a rule.
package placeholder

import (
	"regexp"
	"strings"
)

// LiteralSecret is said of a secret that stands in a config as it is, where
// the admin API, the saved config and every backup would show it.
const LiteralSecret = "write it as a placeholder such as {env.X} or {file./run/secrets/x}, so that the secret itself does not stand in the config"

var secretForm = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// IsSecret reports whether a value has the one form in which a secret may be
// written: a placeholder of the environment or of a file, and nothing beside
// it.
func IsSecret(value string) bool { return secretForm.MatchString(value) }

// In reports whether a value holds a placeholder of any kind, so that it
// cannot be judged before the config is loaded.
func In(value string) bool {
	_, rest, ok := strings.Cut(value, "{")
	return ok && strings.Contains(rest, "}")
}
