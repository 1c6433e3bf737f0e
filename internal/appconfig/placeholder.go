package appconfig

import (
	"errors"
	"regexp"
	"strings"
)

// secretPlaceholder is the one form in which a secret may be written.
var secretPlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// hasPlaceholder reports whether a value has to be expanded before it can be
// checked.
func hasPlaceholder(value string) bool {
	_, rest, ok := strings.Cut(value, "{")
	return ok && strings.Contains(rest, "}")
}

// checkSecretSetting checks how a secret is written; the secret itself is
// known after expansion only.
func checkSecretSetting(setting, value string) error {
	if secretPlaceholder.MatchString(value) {
		return nil
	}
	return errors.New("write it as a placeholder such as {env.HUBSPOT_" + strings.ToUpper(setting) +
		"} or {file./run/secrets/hubspot_" + setting + "}; a literal would stand in the config and in the admin API")
}

// checkOpaque checks a client ID or secret. RFC 6749, appendix A, permits
// spaces too, but HubSpot's have none, and one that is pasted along would be a
// long search.
func checkOpaque(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("holds a space, a control or a non-ASCII character")
	}
	return nil
}
