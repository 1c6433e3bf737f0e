package appconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// Validate checks the settings of the app named name as they are written, and
// returns nil or a [*SettingError]. What holds a placeholder is left to
// [App.Expand]. Nothing is read or called.
func (a App) Validate(name string) error {
	if err := ValidateName(name); err != nil {
		return &SettingError{App: name, Err: err}
	}
	setting, err := a.checkWritten()
	if err == nil {
		setting, err = a.checkValues(placeholder.In, strconv.Quote)
	}
	if err != nil {
		return &SettingError{App: name, Setting: setting, Err: err}
	}
	return nil
}

// checkWritten checks what can be said before anything is expanded: which
// settings go together, and how secrets are written.
func (a App) checkWritten() (setting string, err error) {
	if a.Static {
		if other := a.besideStatic(); other != "" {
			return SettingStatic, fmt.Errorf("%s is given as well; a static app has no client id, no scopes to ask for and no install, and its tokens are imported", other)
		}
		return "", nil
	}
	if a.Credentials != "" {
		for _, other := range []struct{ setting, value string }{
			{SettingClientID, a.ClientID}, {SettingClientSecret, a.ClientSecret}, {SettingClientSecretNext, a.ClientSecretNext},
		} {
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
	for _, s := range settings {
		if err := s.checkForm(&a); err != nil {
			return s.Name, err
		}
	}
	if a.ClientSecret != "" && a.ClientSecretNext == a.ClientSecret {
		return SettingClientSecretNext, errors.New("is the same placeholder as client_secret; it is for another secret, while one is rotated")
	}
	return a.checkInstallSettings()
}

// besideStatic names a setting that is given and that a static app cannot have.
func (a App) besideStatic() string {
	for _, s := range settings {
		given := false
		switch target := s.target(&a).(type) {
		case *string:
			given = *target != ""
		case *[]string:
			given = len(*target) > 0
		case *bool:
			given = *target && s.Name != SettingStatic
		}
		if given {
			return s.Name
		}
	}
	return ""
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

// checkValues checks each value by itself, and that no scope is in two lists
// of an install link. Those that skip says so about hold placeholders; show
// writes a scope into an error.
func (a App) checkValues(skip func(string) bool, show func(string) string) (setting string, err error) {
	for _, s := range settings {
		if err := s.checkValue(&a, skip, show); err != nil {
			return s.Name, err
		}
	}
	return checkScopeLists(a.scopeLists(), skip, show)
}
