package placeholder

import (
	"errors"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Error says which setting could not be expanded. It holds no expanded value,
// provided that the error of the expanding function does not.
type Error struct {
	// Setting is the name under which the value was given to the [Expander].
	Setting string
	// Err is what is wrong.
	Err error
}

// Error names the setting and what is wrong.
func (e *Error) Error() string { return e.Setting + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Expander expands the settings of a config one after the other and keeps the
// first error, so that the error has to be looked at once, at the end. Make
// one with [NewExpander]. It is not safe for concurrent use.
type Expander struct {
	expand func(value string) (string, error)
	err    error
}

// NewExpander makes an expander of the function that expands a value. The
// function gets only values that hold a placeholder. It should return an error
// for a placeholder that is unknown or empty, and put no secret into it.
func NewExpander(expand func(value string) (string, error)) *Expander {
	return &Expander{expand: expand}
}

// Text expands the value of a setting. White space around what came of a
// placeholder is taken off: files end with a line break, and no setting needs
// any. What is empty then is an error. A value without a
// placeholder stays as it is. After the first error nothing is expanded.
func (e *Expander) Text(setting, value string) string {
	if e.err != nil || !In(value) {
		return value
	}
	expanded, err := e.expand(value)
	if err != nil {
		e.fail(setting, err)
		return ""
	}
	expanded = strings.TrimSpace(expanded)
	if expanded == "" {
		e.fail(setting, errors.New("is empty once its placeholder is expanded"))
	}
	return expanded
}

// List expands the items of a setting, where a placeholder may stand for
// several items separated by white space. The result shares no memory with
// values, and is nil where they are none.
func (e *Expander) List(setting string, values []string) []string {
	var list []string
	for _, value := range values {
		if !In(value) {
			list = append(list, value)
			continue
		}
		list = append(list, strings.Fields(e.Text(setting, value))...)
	}
	return list
}

// Secret expands a setting that must be a placeholder ([IsSecret]); anything
// else is an error that does not repeat it. A setting that is not there stays
// the empty secret: whether it has to be there is for the caller to say.
func (e *Expander) Secret(setting, value string) secret.Text {
	switch {
	case value == "":
		return secret.Text{}
	case !IsSecret(value):
		e.fail(setting, errors.New(LiteralSecret))
		return secret.Text{}
	}
	return secret.New(e.Text(setting, value))
}

// Err returns the first error, an [*Error], or nil.
func (e *Expander) Err() error { return e.err }

func (e *Expander) fail(setting string, err error) {
	if e.err == nil {
		e.err = &Error{Setting: setting, Err: err}
	}
}
