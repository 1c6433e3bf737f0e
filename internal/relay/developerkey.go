package relay

import (
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// developerEndpoints are the beginnings of the paths that HubSpot's SDKs call
// with the developer API key of the app's owner and with no access token, even
// where they have one (@hubspot/api-client 14.0.1, the auth methods of
// lib/codegen/{webhooks,automation/actions,marketing/events,crm/timeline,crm/extensions}).
// The version, which is a segment, stands as "*".
var developerEndpoints = [...]string{
	"/webhooks/*/", "/app-webhooks/*/",
	"/automation/*/actions/",
	"/crm/*/extensions/calling/", "/crm/*/extensions/videoconferencing/", "/crm/*/extensions/cards-dev/",
	"/integrators/timeline/*/",
	"/marketing/*/marketing-events/",
}

// explainDeveloperKey says of a request without a key that was not let in that
// a developer API key would not help, if it seems that the client counts on one.
func (c *Call) explainDeveloperKey(err error) error {
	const cannot = "A developer API key (hapikey) cannot be used here: the sidecar calls HubSpot as its users. "
	switch {
	case mentionsDeveloperKey(c.inbound.URL.RawQuery):
		return apierror.Wrap(apierror.CallerUnauthenticated, cannot+"Send the key of a caller, as Authorization: Bearer <key>.", err)
	case isDeveloperEndpoint(c.target.path):
		return apierror.Wrap(apierror.CallerUnauthenticated,
			"No caller key was given. HubSpot's SDKs call this endpoint with a developer API key (hapikey) only, never with the access token. "+cannot+
				"Call HubSpot itself for what belongs to the app, or send the key of a caller, as Authorization: Bearer <key>, where HubSpot takes an access token.", err)
	}
	return err
}

// isDeveloperEndpoint reports whether a path is one of developerEndpoints.
func isDeveloperEndpoint(path string) bool {
	return slices.ContainsFunc(developerEndpoints[:], func(endpoint string) bool {
		before, after, _ := strings.Cut(endpoint, "*")
		rest, ok := strings.CutPrefix(path, before)
		if !ok {
			return false
		}
		i := strings.IndexByte(rest, '/')
		return i > 0 && strings.HasPrefix(rest[i:], after)
	})
}
