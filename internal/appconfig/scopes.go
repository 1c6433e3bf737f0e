package appconfig

import (
	"errors"
	"fmt"
	"strings"
)

// Scopes are the three classes of scopes of an app in HubSpot.
type Scopes struct {
	// Required have to be in every install link's scope.
	Required []string
	// Conditional are required only where the install link asks for them.
	Conditional []string
	// Optional are left out where they cannot be granted.
	Optional []string
}

// scopeList is one list of scopes with the name under which it is written.
type scopeList struct {
	setting string
	scopes  []string
}

// checkScopeLists checks every scope and that none is in the lists twice. It
// returns the name of the list that is wrong. Whether HubSpot knows a scope is
// not checked: its documentation and its API disagree on names. Values that
// skip says so about are compared only; show writes a scope into an error.
func checkScopeLists(lists []scopeList, skip func(string) bool, show func(string) string) (setting string, err error) {
	seen := make(map[string]string)
	for _, list := range lists {
		for _, scope := range list.scopes {
			if !skip(scope) {
				if err := checkScope(scope, show); err != nil {
					return list.setting, err
				}
			}
			other, twice := seen[scope]
			switch {
			case twice && other == list.setting:
				return list.setting, fmt.Errorf("%s is given twice", show(scope))
			case twice:
				return list.setting, fmt.Errorf("%s is in %s already; a scope is in one list only", show(scope), other)
			}
			seen[scope] = list.setting
		}
	}
	return "", nil
}

// checkScope checks the grammar of RFC 6749, 3.3. Braces and commas would be
// part of it, but no scope of HubSpot's has them: they are a placeholder or a
// variable that was not expanded, or a list written wrongly.
func checkScope(scope string, show func(string) string) error {
	switch {
	case scope == "":
		return errors.New("a scope must not be empty")
	case strings.Contains(scope, ","):
		return fmt.Errorf("%s holds a comma; write each scope by itself", show(scope))
	case strings.ContainsAny(scope, "{}"):
		return fmt.Errorf("%s holds a brace, which no scope does", show(scope))
	case strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }):
		return fmt.Errorf("%s holds a character that RFC 6749 does not permit in a scope", show(scope))
	}
	return nil
}
