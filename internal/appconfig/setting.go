package appconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// Setting is one setting of an [App]: a row of the table that serves the
// Caddyfile, the JSON config and the YAML form alike. What it takes follows
// from the type of its field in App:
//
//	string    a text, in which placeholders are expanded
//	int64     a positive number
//	bool      a flag, on when it is there
//	[]string  scopes, in which placeholders are expanded
//	Rate      a rate, most with a default
//
// Get one from [Settings]. It is a value and safe for concurrent use.
type Setting struct {
	// Name is the setting's name in every form of the config.
	Name string
	// Secret is set if the value must be a placeholder: a literal would
	// stand in the config and in the admin API.
	Secret bool

	// target returns the pointer to the field in an App.
	target func(*App) any
	// check judges a text that is given and holds no placeholder. Its error
	// does not hold the text.
	check func(value string) error
	// words is how many arguments a text is made of in a Caddyfile. With 0
	// it is one, and must not be empty.
	words int
	// hint is said of wrong arguments: where the right number is, or of
	// which words a text is made.
	hint string
	// fallback is the rate where none is given, if there is one.
	fallback Rate
}

// Set sets the setting in a from its arguments in a Caddyfile; what was there
// before is replaced. Errors start with the setting's name, do not repeat what
// may be a secret, and leave a as it is. What can be wrong in every form of the
// config is found by [App.Validate].
func (s Setting) Set(a *App, args []string) error {
	if err := s.parse(a, args); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

func (s Setting) parse(a *App, args []string) error {
	switch target := s.target(a).(type) {
	case *string:
		return s.parseText(target, args)
	case *int64:
		return s.parseNumber(target, args)
	case *bool:
		if len(args) > 0 {
			return errors.New("takes no value")
		}
		*target = true
	case *[]string:
		if len(args) == 0 {
			return errors.New("give at least one value")
		}
		*target = slices.Clone(args)
	case *Rate:
		return s.parseRate(target, args)
	}
	return nil
}

func (s Setting) parseText(target *string, args []string) error {
	if s.words > 0 {
		if len(args) != s.words {
			return errors.New(s.hint)
		}
		*target = strings.Join(args, " ")
		return nil
	}
	value, err := oneArg(args)
	if err != nil {
		return err
	}
	if s.Secret && !placeholder.IsSecret(value) {
		return errors.New(placeholder.LiteralSecret)
	}
	*target = value
	return nil
}

func (s Setting) parseNumber(target *int64, args []string) error {
	value, err := oneArg(args)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a positive number; %s", value, s.hint)
	}
	*target = n
	return nil
}

func (s Setting) parseRate(target *Rate, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("give a number of requests and a span of time, as in: %s 110 10s", s.Name)
	}
	rate, err := ParseRate(args[0], args[1])
	if err != nil {
		return err
	}
	*target = rate
	return nil
}

// oneArg returns the only argument. Its error does not repeat the arguments,
// which may be secrets.
func oneArg(args []string) (string, error) {
	if len(args) != 1 || args[0] == "" {
		return "", errors.New("give exactly one value")
	}
	return args[0], nil
}

// expand replaces the value in a by what its placeholders stand for, and a
// rate that is not there by its default.
func (s Setting) expand(a *App, e *placeholder.Expander) {
	switch target := s.target(a).(type) {
	case *string:
		*target = e.Text(s.Name, *target)
	case *[]string:
		*target = e.List(s.Name, *target)
	case *Rate:
		*target = target.Or(s.fallback)
	}
}

// checkForm checks how a secret is written; the secret itself is known after
// expansion only.
func (s Setting) checkForm(a *App) error {
	value, ok := s.target(a).(*string)
	if !s.Secret || !ok || *value == "" || placeholder.IsSecret(*value) {
		return nil
	}
	return errors.New("write it as a placeholder such as {env.HUBSPOT_" + strings.ToUpper(s.Name) +
		"} or {file./run/secrets/hubspot_" + s.Name + "}; a literal would stand in the config and in the admin API")
}

// checkValue checks the value in a, if it is given. Texts that skip says so
// about hold placeholders; show writes a scope into an error.
func (s Setting) checkValue(a *App, skip func(string) bool, show func(string) string) error {
	switch target := s.target(a).(type) {
	case *string:
		if *target == "" || s.check == nil || skip(*target) {
			return nil
		}
		return s.check(*target)
	case *int64:
		if *target < 0 {
			return errors.New("must be a positive number; " + s.hint)
		}
	case *[]string:
		_, err := checkScopeLists([]scopeList{{s.Name, *target}}, skip, show)
		return err
	case *Rate:
		if !target.IsZero() {
			return target.validate()
		}
	}
	return nil
}
