package appconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate checks the settings of the app named name as they are written, and
// returns nil or a [*SettingError]. What holds a placeholder is left to
// [App.Expand]. Nothing is read or called.
func (a App) Validate(name string) error {
	if err := ValidateName(name); err != nil {
		return &SettingError{App: name, Err: err}
	}
	show := func(value string) string { return fmt.Sprintf("%q", value) }
	setting, err := a.checkWritten()
	if err == nil {
		setting, err = a.checkValues(hasPlaceholder, show)
	}
	if err != nil {
		return &SettingError{App: name, Setting: setting, Err: err}
	}
	return nil
}

// checkWritten checks what can be said before anything is expanded: which
// settings go together, and how secrets are written.
func (a App) checkWritten() (setting string, err error) {
	if a.Credentials != "" {
		for _, other := range a.clientSettings() {
			if other.value != "" {
				return SettingCredentials, fmt.Errorf("%s is given as well; use one or the other", other.setting)
			}
		}
	} else {
		switch {
		case a.ClientID == "":
			return SettingClientID, errors.New("is missing; it is on the Auth tab of the app in HubSpot (or use credentials)")
		case a.ClientSecret == "":
			return SettingClientSecret, errors.New("is missing; write it as a placeholder such as {env.HUBSPOT_CLIENT_SECRET} (or use credentials)")
		}
	}
	for _, s := range a.clientSettings()[1:] {
		if s.value == "" {
			continue
		}
		if err := checkSecretSetting(s.setting, s.value); err != nil {
			return s.setting, err
		}
	}
	if a.ClientSecret != "" && a.ClientSecretNext == a.ClientSecret {
		return SettingClientSecretNext, errors.New("is the same placeholder as client_secret; it is for another secret, while one is rotated")
	}
	return a.checkInstallSettings()
}

type namedValue struct{ setting, value string }

func (a App) clientSettings() []namedValue {
	return []namedValue{
		{SettingClientID, a.ClientID},
		{SettingClientSecret, a.ClientSecret},
		{SettingClientSecretNext, a.ClientSecretNext},
	}
}

func (a App) scopeLists() []scopeList {
	return []scopeList{
		{SettingScopes, a.Scopes},
		{SettingConditionalScopes, a.ConditionalScopes},
		{SettingOptionalScopes, a.OptionalScopes},
	}
}

// checkInstallSettings checks that the settings of install links are all there
// or, for a sidecar that only proxies, none of them.
func (a App) checkInstallSettings() (setting string, err error) {
	anyScopes := slices.ContainsFunc(a.scopeLists(), func(l scopeList) bool { return len(l.scopes) > 0 })
	switch {
	case a.ScopesFrom != "" && anyScopes:
		return SettingScopesFrom, errors.New("scopes, conditional_scopes or optional_scopes are given as well; use the file or the lists")
	case a.ScopesFrom == "" && len(a.Scopes) == 0 && anyScopes:
		return SettingScopes, errors.New("is missing; an install link asks for at least one required scope, usually oauth")
	case a.ScopesFrom == "" && !anyScopes && a.RedirectURI != "":
		return SettingScopes, errors.New("is missing; an install link asks for at least one required scope, usually oauth (or use scopes_from)")
	case (a.ScopesFrom != "" || anyScopes) && a.RedirectURI == "":
		return SettingRedirectURI, errors.New("is missing; an install link needs it beside the scopes")
	}
	return "", nil
}

// checkValues checks each value by itself. Those that skip says so about hold
// placeholders; show writes a scope into an error.
func (a App) checkValues(skip func(string) bool, show func(string) string) (setting string, err error) {
	if !skip(a.ClientID) {
		if err := checkOpaque(a.ClientID); err != nil {
			return SettingClientID, err
		}
	}
	if a.Credentials != "" && !skip(a.Credentials) {
		if _, err := parseCredentials(a.Credentials); err != nil {
			return SettingCredentials, err
		}
	}
	if a.AppID < 0 {
		return SettingAppID, errors.New("must be a positive number; it is on the app's page in HubSpot")
	}
	if wrong := checkScopeLists(a.scopeLists(), skip, show); wrong != nil {
		return wrong.setting, wrong.err
	}
	if strings.ContainsRune(a.ScopesFrom, 0) {
		return SettingScopesFrom, errors.New("is not the path of a file")
	}
	if a.RedirectURI != "" && !skip(a.RedirectURI) {
		if err := checkRedirectURI(a.RedirectURI); err != nil {
			return SettingRedirectURI, err
		}
	}
	return a.checkRates()
}

func (a App) checkRates() (setting string, err error) {
	for _, r := range []struct {
		setting string
		rate    Rate
	}{
		{SettingQuota, a.Quota},
		{SettingSearchQuota, a.SearchQuota},
		{SettingRefreshQuota, a.RefreshQuota},
	} {
		if r.rate.IsZero() {
			continue
		}
		if err := r.rate.validate(); err != nil {
			return r.setting, err
		}
	}
	return "", nil
}
