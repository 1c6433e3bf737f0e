// Package settings reads the settings of modules from a Caddyfile, so that all
// of them are checked and refused in the same way, with file and line.
package settings

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// Setting is one subdirective of a block.
type Setting struct {
	// Parse reads its arguments and its block; the dispenser's current token
	// is the name of the subdirective.
	Parse func(d *caddyfile.Dispenser) error
	// Repeatable settings may be given more than once.
	Repeatable bool
	// Refused says why the setting, which users may know from elsewhere, cannot
	// be used here, and what to use instead. It has no Parse.
	Refused string
}

// Block reads a block of settings. what names the block in errors, as in
// "app hbdev". A setting that is unknown, or that is given twice without being
// repeatable, is an error with file and line. A missing block is an empty one.
func Block(d *caddyfile.Dispenser, what string, known map[string]Setting) error {
	seen := make(map[string]bool)
	last := what
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if name == "{" {
			return d.Errf("%s: %s takes no block", what, last)
		}
		s, ok := known[name]
		switch {
		case !ok:
			return d.Errf("%s: unknown setting %q; there are: %s", what, name, names(known))
		case s.Refused != "":
			return d.Errf("%s: %s cannot be used: %s", what, name, s.Refused)
		}
		if seen[name] && !s.Repeatable {
			return d.Errf("%s: %s is given twice", what, name)
		}
		seen[name] = true
		last = name
		if err := s.Parse(d); err != nil {
			return err
		}
	}
	return nil
}

// names lists the settings that can be used.
func names(known map[string]Setting) string {
	var all []string
	for name, s := range known {
		if s.Refused == "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// OneArg reads the only argument of the current subdirective. Its error does
// not repeat the arguments, which may be secrets.
func OneArg(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	var value string
	if !d.AllArgs(&value) || value == "" {
		return "", d.Errf("%s: give exactly one value", name)
	}
	return value, nil
}

// Checked is a setting that is checked after it was read. The error of check
// gets the setting's file and line.
func Checked(s Setting, check func() error) Setting {
	parse := s.Parse
	s.Parse = func(d *caddyfile.Dispenser) error {
		if err := parse(d); err != nil {
			return err
		}
		if err := check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
	return s
}

// Text is a setting with one value.
func Text(target *string) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) (err error) {
		*target, err = OneArg(d)
		return err
	}}
}

// Secret is a setting whose one value must be a placeholder.
func Secret(target *string) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		value, err := OneArg(d)
		if err != nil {
			return err
		}
		if !placeholder.IsSecret(value) {
			return d.Errf("%s: %s", name, placeholder.LiteralSecret)
		}
		*target = value
		return nil
	}}
}

// List is a setting with one or more values.
func List(target *[]string) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.Errf("%s: give at least one value", name)
		}
		*target = append(*target, values...)
		return nil
	}}
}

// Number is a setting with one whole number from low to high.
func Number(target *int, low, high int) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		value, err := OneArg(d)
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(value)
		if err != nil || number < low || number > high {
			return d.Errf("%s: %q is not a number from %d to %d", name, value, low, high)
		}
		*target = number
		return nil
	}}
}

// Flag is a setting that is on when it is there.
func Flag(target *bool) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if d.NextArg() {
			return d.Errf("%s: takes no value", name)
		}
		*target = true
		return nil
	}}
}

// Duration is a setting with one duration above zero.
func Duration(target *caddy.Duration) Setting {
	return Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		value, err := OneArg(d)
		if err != nil {
			return err
		}
		duration, err := caddy.ParseDuration(value)
		if err != nil || duration <= 0 {
			return d.Errf("%s: %q is not a duration above zero, such as 3s or 1m", name, value)
		}
		*target = caddy.Duration(duration)
		return nil
	}}
}
