// Package appconfig has the settings of a HubSpot app as plain data, shared by
// the Caddyfile, the JSON config and the YAML form (apps_file), together with
// every check that these settings need. It knows nothing of Caddy: where a
// placeholder has to be expanded, the caller brings the function that does it.
package appconfig

// App is the settings of one HubSpot app: the client credentials, what its
// install links ask for, and the quotas that HubSpot grants it. Each field has
// its row in the table that [Settings] returns, which serves all forms.
type App struct {
	// The app's client ID, from the Auth tab of the app in HubSpot. A
	// placeholder such as {env.HUBSPOT_CLIENT_ID} is expanded when the
	// config is loaded.
	ClientID string `json:"client_id,omitempty" yaml:"client_id,omitempty"`

	// The app's client secret, as a placeholder: {env.HUBSPOT_CLIENT_SECRET}
	// or {file./run/secrets/hubspot_client_secret}. It is expanded when the
	// config is loaded. A literal is refused, because it would stand in the
	// config and in the admin API.
	ClientSecret string `json:"client_secret,omitempty" yaml:"client_secret,omitempty"`

	// A second client secret, accepted beside the first while a secret is
	// rotated. A placeholder, like `client_secret`.
	ClientSecretNext string `json:"client_secret_next,omitempty" yaml:"client_secret_next,omitempty"`

	// Where to read the client credentials instead of `client_id` and
	// `client_secret`: the word vault and the path of a KV v2 secret with
	// its mount, such as "vault secret/hubspot-apps/hbdev". The secret has
	// the fields client_id, client_secret and, while a secret is rotated,
	// client_secret_next.
	Credentials string `json:"credentials,omitempty" yaml:"credentials,omitempty"`

	// Whether the app has static auth, or stands for service keys: it has no
	// client ID, and HubSpot issues one token per account, which is imported
	// with `caddy hubspot import`, never refreshed, and works until somebody
	// ends it. Such an app is not installed through the sidecar. Default: no.
	Static bool `json:"static,omitempty" yaml:"static,omitempty"`

	// The app's numeric ID in HubSpot. Optional.
	AppID int64 `json:"app_id,omitempty" yaml:"app_id,omitempty"`

	// The scopes that every install link asks for; a user who cannot grant
	// all of them cannot install the app. They have to be the required
	// scopes of the app in HubSpot, usually with `oauth` among them.
	Scopes []string `json:"scopes,omitempty" yaml:"scopes,omitempty"`

	// The app's conditionally required scopes in HubSpot. An install link
	// asks for them like for `scopes`.
	ConditionalScopes []string `json:"conditional_scopes,omitempty" yaml:"conditional_scopes,omitempty"`

	// Scopes that HubSpot leaves out silently where the account or the user
	// cannot grant them. They have to be the optional scopes of the app in
	// HubSpot.
	OptionalScopes []string `json:"optional_scopes,omitempty" yaml:"optional_scopes,omitempty"`

	// A file to take the three lists of scopes from instead: the
	// app-hsmeta.json of a HubSpot project, or the public-app.json of an
	// older one. A relative path starts at the working directory.
	ScopesFrom string `json:"scopes_from,omitempty" yaml:"scopes_from,omitempty"`

	// The scopes of the app's own token, with which calls as the app are
	// made (`/as-app/`, `X-HubSpot-As: app`), such as
	// developer.webhooks_journal.read. They are asked for with the client
	// credentials and have nothing to do with what users grant. Default:
	// those for the journal where `journal` is set, otherwise none, so that
	// there are no such calls.
	AppScopes []string `json:"app_scopes,omitempty" yaml:"app_scopes,omitempty"`

	// Set for a user-level app (isUserLevel in its app-hsmeta.json, from where
	// `scopes_from` reads it as well): each connection is that of one person of
	// a HubSpot account, and stays with that person.
	UserLevel bool `json:"user_level,omitempty" yaml:"user_level,omitempty"`

	// For a user-level app: another app of this config, with connections of
	// accounts. Calls that HubSpot refuses because their token is a user-level
	// one are served by a connection of that app to the same account, and say
	// so, for callers that may use it too. Default: none.
	FallbackApp string `json:"fallback_app,omitempty" yaml:"fallback_app,omitempty"`

	// Read the app's webhooks journal, to learn of uninstalls at once: the
	// connections of the account then require another install, with the
	// reason uninstalled. One of the sidecars that share the store reads it,
	// with the app's own token. HubSpot has no journal for static apps.
	Journal bool `json:"journal,omitempty" yaml:"journal,omitempty"`

	// Where HubSpot sends the browser back after an install, as registered
	// with the app in HubSpot, to the letter. Its path is the one that
	// `hubspot_auth` answers. HubSpot wants https and a host name; http is
	// for localhost only.
	RedirectURI string `json:"redirect_uri,omitempty" yaml:"redirect_uri,omitempty"`

	// Requests that the app may make per portal, such as "110 10s", which is
	// the default: 110 in ten seconds.
	Quota Rate `json:"quota,omitzero" yaml:"quota,omitempty"`

	// Search requests (…/search) that the app may make per portal. They have
	// a quota of their own. Default: "5 1s".
	SearchQuota Rate `json:"search_quota,omitzero" yaml:"search_quota,omitempty"`

	// Requests to HubSpot's token endpoint at the most, over all connections
	// of the app, of this process. Fewer are made after HubSpot has answered
	// 429. Where it is not set there are 10 in a second at first, and up to
	// 100 while refreshes wait and HubSpot does not answer 429.
	RefreshQuota Rate `json:"refresh_quota,omitzero" yaml:"refresh_quota,omitempty"`
}

// NamedApp is an app with its name and its place in a file.
type NamedApp struct {
	// Name is the name as written.
	Name string
	App  App
	// File is the file that the app stands in, empty for an app of the
	// Caddyfile or the JSON config. Line is the line of the file on which the
	// name stands, from 1.
	File string
	Line int
}
