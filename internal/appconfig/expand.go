package appconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Resolved is the settings of an app as the program uses them: placeholders
// expanded, files read, defaults filled in. Either ClientID and ClientSecret
// are set, or CredentialsPath is.
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
	// AppID is 0 where it is not set.
	AppID int64
	// Scopes are empty for an app that has no install links.
	Scopes Scopes
	// RedirectURI is empty for an app that has no install links.
	RedirectURI string
	// Quota, SearchQuota and RefreshQuota are never zero.
	Quota, SearchQuota, RefreshQuota Rate
}

// HasInstallLinks reports whether the app has what an install link needs.
func (r Resolved) HasInstallLinks() bool { return r.RedirectURI != "" }

// Expand checks the settings as written (see [App.Validate]), expands their
// placeholders, reads the file of scopes_from, and checks what came of it. The
// function expand gets each value that holds a placeholder; it should return
// an error for one that is unknown or empty, which is wrapped, so that it must
// hold no secret. The errors are [*SettingError] and hold no expanded value.
func (a App) Expand(name string, expand func(setting, value string) (string, error)) (Resolved, error) {
	if err := a.Validate(name); err != nil {
		return Resolved{}, err
	}
	e := expander{expand: expand}
	expanded := App{
		ClientID:         e.text(SettingClientID, a.ClientID),
		ClientSecret:     e.text(SettingClientSecret, a.ClientSecret),
		ClientSecretNext: e.text(SettingClientSecretNext, a.ClientSecretNext),
		Credentials:      e.text(SettingCredentials, a.Credentials),
		AppID:            a.AppID,
		ScopesFrom:       e.text(SettingScopesFrom, a.ScopesFrom),
		RedirectURI:      e.text(SettingRedirectURI, a.RedirectURI),
		Quota:            a.Quota.Or(DefaultQuota),
		SearchQuota:      a.SearchQuota.Or(DefaultSearchQuota),
		RefreshQuota:     a.RefreshQuota.Or(DefaultRefreshQuota),

		Scopes:            e.list(SettingScopes, a.Scopes),
		ConditionalScopes: e.list(SettingConditionalScopes, a.ConditionalScopes),
		OptionalScopes:    e.list(SettingOptionalScopes, a.OptionalScopes),
	}
	if e.err != nil {
		return Resolved{}, &SettingError{App: name, Setting: e.setting, Err: e.err}
	}
	if setting, err := expanded.checkExpanded(a); err != nil {
		return Resolved{}, &SettingError{App: name, Setting: setting, Err: err}
	}
	return expanded.resolve(name)
}

// checkExpanded checks the values of an expanded app; written is what it was
// expanded from.
func (a App) checkExpanded(written App) (setting string, err error) {
	for _, s := range a.clientSettings()[1:] {
		if err := checkOpaque(s.value); err != nil {
			return s.setting, err
		}
	}
	never := func(string) bool { return false }
	literals := slices.Concat(written.Scopes, written.ConditionalScopes, written.OptionalScopes)
	return a.checkValues(never, func(scope string) string {
		if slices.Contains(literals, scope) {
			return fmt.Sprintf("%q", scope)
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
		AppID:            a.AppID,
		Scopes:           Scopes{Required: a.Scopes, Conditional: a.ConditionalScopes, Optional: a.OptionalScopes},
		RedirectURI:      a.RedirectURI,
		Quota:            a.Quota,
		SearchQuota:      a.SearchQuota,
		RefreshQuota:     a.RefreshQuota,
	}
	var err error
	if a.Credentials != "" {
		if r.CredentialsPath, err = parseCredentials(a.Credentials); err != nil {
			return Resolved{}, &SettingError{App: name, Setting: SettingCredentials, Err: err}
		}
	}
	if a.ScopesFrom != "" {
		if r.Scopes, err = LoadScopes(a.ScopesFrom); err != nil {
			return Resolved{}, &SettingError{App: name, Setting: SettingScopesFrom, Err: err}
		}
	}
	return r, nil
}

// expander keeps the first error.
type expander struct {
	expand  func(setting, value string) (string, error)
	setting string
	err     error
}

// text expands one value. White space around it is taken off: files end with a
// line break, and no setting has any.
func (e *expander) text(setting, value string) string {
	if e.err != nil || !hasPlaceholder(value) {
		return value
	}
	expanded, err := e.expand(setting, value)
	if err != nil {
		e.fail(setting, fmt.Errorf("expanding its placeholder: %w", err))
		return ""
	}
	expanded = strings.TrimSpace(expanded)
	if expanded == "" {
		e.fail(setting, errors.New("is empty once its placeholder is expanded"))
	}
	return expanded
}

// list expands a list, in which a placeholder may stand for several items
// separated by white space.
func (e *expander) list(setting string, values []string) []string {
	var list []string
	for _, value := range values {
		if !hasPlaceholder(value) {
			list = append(list, value)
			continue
		}
		list = append(list, strings.Fields(e.text(setting, value))...)
	}
	return list
}

func (e *expander) fail(setting string, err error) {
	if e.err == nil {
		e.setting, e.err = setting, err
	}
}
