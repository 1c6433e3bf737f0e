package sandbox

import (
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// Register makes the sandbox's apps of the sidecar's, as one would register
// them with HubSpot.
func Register(apps []appconfig.Resolved) ([]App, error) {
	registered := make([]App, 0, len(apps))
	for _, settings := range apps {
		if settings.Static {
			continue // HubSpot knows its tokens only
		}
		if settings.CredentialsPath != "" {
			return nil, fmt.Errorf("app %q: credentials: the sandbox does not read Vault; give hubspot_sandbox an app block with client_id and client_secret", settings.Name)
		}
		app := App{
			ClientID:          settings.ClientID,
			ClientSecret:      settings.ClientSecret,
			ClientSecretNext:  settings.ClientSecretNext,
			AppID:             settings.AppID,
			Scopes:            settings.Scopes.Required,
			ConditionalScopes: settings.Scopes.Conditional,
			OptionalScopes:    settings.Scopes.Optional,
			UserLevel:         settings.UserLevel,
		}
		if settings.RedirectURI != "" {
			app.RedirectURIs = []string{settings.RedirectURI}
		}
		if len(app.Scopes) == 0 {
			// An app without install links is known by its credentials only.
			app.Scopes = []string{"oauth"}
		}
		registered = append(registered, app)
	}
	return registered, nil
}
