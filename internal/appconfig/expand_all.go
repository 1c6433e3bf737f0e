package appconfig

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ExpandAll expands apps with [App.Expand] and returns them in the order of
// their canonical names, which must all be different. An error about an app of
// a file starts with the file and the line.
func ExpandAll(apps []NamedApp, expand func(value string) (string, error)) ([]Resolved, error) {
	byName := make(map[string]string, len(apps))
	all := make([]Resolved, 0, len(apps))
	for _, app := range apps {
		name := CanonicalName(app.Name)
		if other, ok := byName[name]; ok {
			return nil, fmt.Errorf("%sapp %q: there is an app %q already; names compare without regard to case", app.place(), app.Name, other)
		}
		byName[name] = app.Name
		resolved, err := app.App.Expand(app.Name, expand)
		if err != nil {
			return nil, fmt.Errorf("%s%w", app.place(), err)
		}
		all = append(all, resolved)
	}
	slices.SortFunc(all, func(a, b Resolved) int { return strings.Compare(CanonicalName(a.Name), CanonicalName(b.Name)) })
	return all, nil
}

// place is the beginning of an error about an app of a file.
func (a NamedApp) place() string {
	if a.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", a.File, a.Line)
}

// CheckRedirects refuses apps that share a redirect path: the path of a
// callback says which app it is for.
func CheckRedirects(apps []Resolved) error {
	paths := make(map[string]string, len(apps))
	for _, app := range apps {
		if app.RedirectURI == "" {
			continue
		}
		u, err := url.Parse(app.RedirectURI)
		if err != nil {
			return fmt.Errorf("app %q: redirect_uri: is not a URL", app.Name)
		}
		if other, ok := paths[u.Path]; ok {
			return fmt.Errorf("app %q: redirect_uri: has the path %s, as has app %q; each app needs its own, because the path says which app a callback is for",
				app.Name, u.Path, other)
		}
		paths[u.Path] = app.Name
	}
	return nil
}

// CheckFallbacks refuses a fallback_app that cannot serve for its app.
func CheckFallbacks(apps []Resolved) error {
	userLevel := make(map[string]bool, len(apps))
	for _, app := range apps {
		userLevel[CanonicalName(app.Name)] = app.UserLevel
	}
	for _, app := range apps {
		if app.FallbackApp == "" {
			continue
		}
		refuse := func(why string) error {
			return &SettingError{App: app.Name, Setting: SettingFallbackApp, Err: errors.New(why)}
		}
		other, there := userLevel[app.FallbackApp]
		switch {
		case !app.UserLevel:
			return refuse("is for user-level apps only; set user_level if this is one")
		case !there:
			return refuse(fmt.Sprintf("there is no app %q", app.FallbackApp))
		case other:
			return refuse(fmt.Sprintf("the app %q is a user-level one too; name one whose connections are of accounts", app.FallbackApp))
		}
	}
	return nil
}
