package appconfig

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var appName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$`)

// ValidateName checks the name of an app: 1 to 64 letters, digits, `-` and
// `_`, not starting with a dash.
func ValidateName(name string) error {
	if !appName.MatchString(name) {
		return errors.New("an app's name is 1 to 64 letters, digits, - and _, and does not start with -")
	}
	return nil
}

// CanonicalName returns the form of a name in which apps are compared and
// stored: lower case.
func CanonicalName(name string) string { return strings.ToLower(name) }

// SettingError is the error for a wrong setting of an app. Its text holds no
// expanded value.
type SettingError struct {
	// App is the app's name.
	App string
	// Setting is the name of the setting, or empty where it is the app's
	// name that is wrong.
	Setting string
	// Err says what is wrong and what would be right.
	Err error
}

// Error names the app, the setting and what is wrong.
func (e *SettingError) Error() string {
	if e.Setting == "" {
		return fmt.Sprintf("app %q: %v", e.App, e.Err)
	}
	return fmt.Sprintf("app %q: %s: %v", e.App, e.Setting, e.Err)
}

// Unwrap returns Err.
func (e *SettingError) Unwrap() error { return e.Err }
