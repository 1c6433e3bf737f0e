package appconfig

import (
	"errors"
	"slices"
	"strings"
)

// Names of settings that are checked together with others, and that a
// [SettingError] may bear though they are not there.
const (
	SettingClientID          = "client_id"
	SettingClientSecret      = "client_secret"
	SettingClientSecretNext  = "client_secret_next"
	SettingCredentials       = "credentials"
	SettingStatic            = "static"
	SettingScopes            = "scopes"
	SettingConditionalScopes = "conditional_scopes"
	SettingOptionalScopes    = "optional_scopes"
	SettingScopesFrom        = "scopes_from"
	SettingAppScopes         = "app_scopes"
	SettingUserLevel         = "user_level"
	SettingFallbackApp       = "fallback_app"
	SettingRedirectURI       = "redirect_uri"
)

// settings has a row for each field of [App], in the order of the
// documentation. The names are those in the fields' tags.
var settings = []Setting{
	{Name: SettingClientID, target: func(a *App) any { return &a.ClientID }, check: checkOpaque},
	{Name: SettingClientSecret, target: func(a *App) any { return &a.ClientSecret }, check: checkOpaque, Secret: true},
	{Name: SettingClientSecretNext, target: func(a *App) any { return &a.ClientSecretNext }, check: checkOpaque, Secret: true},
	{
		Name: SettingCredentials, target: func(a *App) any { return &a.Credentials }, check: checkCredentials,
		words: 2, hint: "give vault and a path, as in: credentials vault secret/hubspot-apps/hbdev",
	},
	{Name: SettingStatic, target: func(a *App) any { return &a.Static }},
	{Name: "app_id", target: func(a *App) any { return &a.AppID }, hint: "it is on the app's page in HubSpot"},
	{Name: SettingScopes, target: func(a *App) any { return &a.Scopes }},
	{Name: SettingConditionalScopes, target: func(a *App) any { return &a.ConditionalScopes }},
	{Name: SettingOptionalScopes, target: func(a *App) any { return &a.OptionalScopes }},
	{Name: SettingScopesFrom, target: func(a *App) any { return &a.ScopesFrom }, check: checkPath},
	{Name: SettingAppScopes, target: func(a *App) any { return &a.AppScopes }},
	{Name: SettingUserLevel, target: func(a *App) any { return &a.UserLevel }},
	{Name: SettingFallbackApp, target: func(a *App) any { return &a.FallbackApp }},
	{Name: "journal", target: func(a *App) any { return &a.Journal }},
	{Name: SettingRedirectURI, target: func(a *App) any { return &a.RedirectURI }, check: checkRedirectURI},
	{Name: "quota", target: func(a *App) any { return &a.Quota }, fallback: DefaultQuota},
	{Name: "search_quota", target: func(a *App) any { return &a.SearchQuota }, fallback: DefaultSearchQuota},
	{Name: "refresh_quota", target: func(a *App) any { return &a.RefreshQuota }},
}

// Settings returns all settings of an app in the order of the documentation.
// The slice is the caller's own.
func Settings() []Setting { return slices.Clone(settings) }

func settingNamed(name string) (s Setting, ok bool) {
	i := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return settings[i], true
}

func settingNames() string {
	names := make([]string, 0, len(settings))
	for _, s := range settings {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
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

// checkPath refuses what no system takes for a path.
func checkPath(value string) error {
	if strings.ContainsRune(value, 0) {
		return errors.New("is not the path of a file")
	}
	return nil
}
