package hubapp

import (
	"context"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// SecretUse says when one of two client secrets was last needed.
type SecretUse struct {
	// Setting is the setting that the secret stands in now:
	// [appconfig.SettingClientSecret] or [appconfig.SettingClientSecretNext].
	Setting string
	// Uses are when it was last needed for what.
	Uses map[secretuse.Purpose]time.Time
}

// LastNeeded is when the secret was last needed, zero for never.
func (u SecretUse) LastNeeded() time.Time {
	var last time.Time
	for _, at := range u.Uses {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// Rotation returns when each of the app's two client secrets was last needed in
// this process; nil for an app that has only one, and while its credentials are
// not known. It does not wait.
func (a *App) Rotation() []SecretUse {
	creds := a.knownCredentials()
	if creds.NextSecret.IsZero() || creds.NextSecret.Equal(creds.Secret) {
		return nil
	}
	use := func(setting string, s secret.Text) SecretUse {
		return SecretUse{Setting: setting, Uses: a.Secrets.Uses(s)}
	}
	return []SecretUse{
		use(appconfig.SettingClientSecret, creds.Secret), use(appconfig.SettingClientSecretNext, creds.NextSecret),
	}
}

// knownCredentials are the app's credentials as they were last read; none if
// they never were.
func (a *App) knownCredentials() hubspot.Credentials {
	if stored, ok := a.Client.Credentials.(*StoredCredentials); ok {
		creds, _, _ := stored.remembered()
		return creds
	}
	creds, err := a.Credentials(context.Background())
	if err != nil {
		return hubspot.Credentials{}
	}
	return creds
}
