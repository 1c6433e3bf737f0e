package sandbox

import (
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Which of an app's client secrets are valid.
const (
	secretFirst = "client_secret"
	secretNext  = "client_secret_next"
	secretBoth  = "both"
)

// SecretRule says which client secrets of an app are valid, as when one is
// rotated in HubSpot: the others have ended.
type SecretRule struct {
	// ClientID is the app; it may be left out where there is one only.
	ClientID string `json:"client_id,omitempty"`
	// Valid is client_secret, client_secret_next or both.
	Valid string `json:"valid"`
}

func (r *SecretRule) validate() error {
	switch r.Valid {
	case secretFirst, secretNext, secretBoth:
		return nil
	}
	return fmt.Errorf("client_secrets: valid: %q is not one of %s, %s, %s", r.Valid, secretFirst, secretNext, secretBoth)
}

// aim finds the app that the rule is for.
func (r *SecretRule) aim(apps map[string]*App) error {
	if r.ClientID == "" && len(apps) == 1 {
		for id := range apps {
			r.ClientID = id
		}
	}
	app := apps[r.ClientID]
	switch {
	case r.ClientID == "":
		return errors.New("client_secrets: client_id: say which app, as there are several")
	case app == nil:
		return fmt.Errorf("client_secrets: client_id: there is no app %q", r.ClientID)
	case r.Valid != secretFirst && app.ClientSecretNext.IsZero():
		return errors.New("client_secrets: the app has no client_secret_next")
	}
	return nil
}

// endSecret has a rule for app hold until the faults are cleared. It goes by the
// secret and not by its place, as the two may be swapped.
func (f *faults) endSecret(app *App, valid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = make(map[string]secret.Text)
	}
	switch valid {
	case secretFirst:
		f.ended[app.ClientID] = app.ClientSecretNext
	case secretNext:
		f.ended[app.ClientID] = app.ClientSecret
	default:
		delete(f.ended, app.ClientID)
	}
}

// accepts compares in constant time with the secrets of an app that are valid.
func (f *faults) accepts(a *App, given string) bool {
	f.mu.Lock()
	ended := f.ended[a.ClientID]
	f.mu.Unlock()
	return a.secretMatches(given) && !ended.Equal(secret.New(given))
}

// validSecrets says which secrets are valid of the apps for which a rule said so.
func (f *faults) validSecrets(apps map[string]*App) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	valid := make(map[string]string, len(f.ended))
	for id, ended := range f.ended {
		valid[id] = secretNext
		if app := apps[id]; app != nil && ended.Equal(app.ClientSecretNext) {
			valid[id] = secretFirst
		}
	}
	return valid
}
