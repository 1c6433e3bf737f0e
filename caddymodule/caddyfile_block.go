package caddymodule

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// setting reads the arguments of one subdirective, whose name is the
// dispenser's current token.
type setting struct {
	parse func(d *caddyfile.Dispenser) error
	// repeatable settings may be given more than once.
	repeatable bool
}

// parseBlock reads a block of settings. what names the block in errors, as
// in "app hbdev". A setting that is unknown, or that is given twice without
// being repeatable, is an error with file and line. A missing block is an
// empty one.
func parseBlock(d *caddyfile.Dispenser, what string, settings map[string]setting) error {
	seen := make(map[string]bool)
	last := what
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if name == "{" {
			return d.Errf("%s: %s takes no block", what, last)
		}
		s, ok := settings[name]
		if !ok {
			return d.Errf("%s: unknown setting %q; there are: %s", what, name,
				strings.Join(slices.Sorted(maps.Keys(settings)), ", "))
		}
		if seen[name] && !s.repeatable {
			return d.Errf("%s: %s is given twice", what, name)
		}
		seen[name] = true
		last = name
		if err := s.parse(d); err != nil {
			return err
		}
	}
	return nil
}

// oneArg reads the only argument of the current subdirective. Its error does
// not repeat the arguments, which may be secrets.
func oneArg(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	var value string
	if !d.AllArgs(&value) || value == "" {
		return "", d.Errf("%s: give exactly one value", name)
	}
	return value, nil
}

// textSetting is a setting with one value.
func textSetting(target *string) setting {
	return setting{parse: func(d *caddyfile.Dispenser) (err error) {
		*target, err = oneArg(d)
		return err
	}}
}

// secretSetting is a setting whose one value must be a placeholder.
func secretSetting(target *string) setting {
	return setting{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		value, err := oneArg(d)
		if err != nil {
			return err
		}
		if !isPlaceholder(value) {
			return d.Errf("%s: %s", name, literalSecret)
		}
		*target = value
		return nil
	}}
}

// listSetting is a setting with one or more values.
func listSetting(target *[]string) setting {
	return setting{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.Errf("%s: give at least one value", name)
		}
		*target = append(*target, values...)
		return nil
	}}
}

// flagSetting is a setting that is on when it is there.
func flagSetting(target *bool) setting {
	return setting{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if d.NextArg() {
			return d.Errf("%s: takes no value", name)
		}
		*target = true
		return nil
	}}
}

// durationSetting is a setting with one duration above zero.
func durationSetting(target *caddy.Duration) setting {
	return setting{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		value, err := oneArg(d)
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

// literalSecret is said of a secret that stands in a config as it is, where
// the admin API, the saved config and every backup would show it.
const literalSecret = "write it as a placeholder such as {env.X} or {file./run/secrets/x}, so that the secret itself does not stand in the config"

// secretPlaceholder is the form in which a secret is written.
var secretPlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// isPlaceholder reports whether a value is a placeholder and nothing else.
func isPlaceholder(value string) bool { return secretPlaceholder.MatchString(value) }

// hasPlaceholder reports whether a value cannot be judged before the config
// is loaded.
func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }
