package appconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Resolved is the settings of an app as the program uses them: placeholders
// expanded, files read, defaults filled in. Either ClientID and ClientSecret
// are set, or CredentialsPath is, or Static.
type Resolved struct {
	// Name is the name as written; see [CanonicalName].
	Name string
	// ClientID and ClientSecret are the app's credentials.
	ClientID     string
	ClientSecret secret.Text
	// ClientSecretNext is the second secret while one is rotated, or empty.
	ClientSecretNext secret.Text
	// CredentialsPath is the path of the credentials in Vault, with its
	// mount: secret/hubspot-apps/hbdev.
	CredentialsPath string
	// Static says that the app has no credentials: its tokens are imported.
	Static bool
	// AppID is 0 where it is not set.
	AppID int64
	// Scopes are empty for an app that has no install links.
	Scopes Scopes
	// AppScopes are those of the app's own token; without any there is none.
	AppScopes []string
	// UserLevel is set for an app whose connections are of one person each.
	UserLevel bool
	// FallbackApp is the canonical name of another app, or empty.
	FallbackApp string
	// Journal has the webhooks journal of the app read.
	Journal bool
	// RedirectURI is empty for an app that has no install links.
	RedirectURI string
	// Quota and SearchQuota are never zero.
	Quota, SearchQuota Rate
	// RefreshQuota is zero where it is not set.
	RefreshQuota Rate
}

// HasInstallLinks reports whether the app has what an install link needs.
func (r Resolved) HasInstallLinks() bool { return r.RedirectURI != "" }

// Expand checks the settings as written (see [App.Validate]), expands their
// placeholders, reads the file of scopes_from, and checks what came of it. The
// function expand gets each value that holds a placeholder; it should return
// an error for one that is unknown or empty, which is wrapped, so that it must
// hold no secret. The errors are [*SettingError] and hold no expanded value.
func (a App) Expand(name string, expand func(value string) (string, error)) (Resolved, error) {
	if err := a.Validate(name); err != nil {
		return Resolved{}, err
	}
	e := placeholder.NewExpander(func(value string) (string, error) {
		expanded, err := expand(value)
		if err != nil {
			return "", fmt.Errorf("expanding its placeholder: %w", err)
		}
		return expanded, nil
	})
	expanded := a
	for _, s := range settings {
		s.expand(&expanded, e)
	}
	if wrong, ok := errors.AsType[*placeholder.Error](e.Err()); ok {
		return Resolved{}, &SettingError{App: name, Setting: wrong.Setting, Err: wrong.Err}
	}
	if setting, err := expanded.checkExpanded(a); err != nil {
		return Resolved{}, &SettingError{App: name, Setting: setting, Err: err}
	}
	return expanded.resolve(name)
}

// checkExpanded checks the values of an expanded app; written is what it was
// expanded from, whose own scopes an error may show.
func (a App) checkExpanded(written App) (setting string, err error) {
	var literals []string
	for _, s := range settings {
		if list, ok := s.target(&written).(*[]string); ok {
			literals = append(literals, *list...)
		}
	}
	never := func(string) bool { return false }
	return a.checkValues(never, func(scope string) string {
		if slices.Contains(literals, scope) {
			return strconv.Quote(scope)
		}
		return "a scope that a placeholder stands for"
	})
}

// resolve makes the result of an app that was expanded and checked.
func (a App) resolve(name string) (Resolved, error) {
	r := Resolved{
		Name:             name,
		ClientID:         a.ClientID,
		ClientSecret:     secret.New(a.ClientSecret),
		ClientSecretNext: secret.New(a.ClientSecretNext),
		Static:           a.Static,
		AppID:            a.AppID,
		Scopes:           Scopes{Required: a.Scopes, Conditional: a.ConditionalScopes, Optional: a.OptionalScopes},
		AppScopes:        a.AppScopes,
		UserLevel:        a.UserLevel,
		FallbackApp:      CanonicalName(a.FallbackApp),
		Journal:          a.Journal,
		RedirectURI:      a.RedirectURI,
		Quota:            a.Quota,
		SearchQuota:      a.SearchQuota,
		RefreshQuota:     a.RefreshQuota,
	}
	if a.Journal && len(a.AppScopes) == 0 {
		r.AppScopes = hubspot.JournalScopes()
	}
	if a.Credentials != "" {
		r.CredentialsPath = strings.Fields(a.Credentials)[1] // see checkCredentials
	}
	if a.ScopesFrom != "" {
		project, err := LoadProject(a.ScopesFrom)
		if err != nil {
			return Resolved{}, &SettingError{App: name, Setting: SettingScopesFrom, Err: err}
		}
		r.Scopes, r.UserLevel = project.Scopes, r.UserLevel || project.UserLevel
	}
	return r, nil
}
