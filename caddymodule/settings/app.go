package settings

import (
	"errors"
	"iter"
	"maps"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// Apps is a repeatable setting: an app block with a name that is not there
// yet, and the settings of [appconfig.Settings]. All that can be checked
// without expanding placeholders is.
func Apps(target *map[string]*appconfig.App) Setting {
	return Setting{Repeatable: true, Parse: func(d *caddyfile.Dispenser) error {
		name, err := NewName(d, maps.Keys(*target))
		if err != nil {
			return err
		}
		if err := appconfig.ValidateName(name); err != nil {
			return d.Errf("app %q: %w", name, err)
		}
		app, err := parseApp(d, name)
		if err != nil {
			return err
		}
		if *target == nil {
			*target = make(map[string]*appconfig.App)
		}
		(*target)[name] = app
		return nil
	}}
}

// NewName reads the one argument of an app or a caller, a name that is not one
// of others.
func NewName(d *caddyfile.Dispenser, others iter.Seq[string]) (string, error) {
	kind := d.Val()
	name, err := OneArg(d)
	if err != nil {
		return "", d.Errf("%s: give exactly one name before the block", kind)
	}
	for other := range others {
		if strings.EqualFold(other, name) {
			return "", d.Errf("%s %q: there is one called %q already; names compare without regard to case", kind, name, other)
		}
	}
	return name, nil
}

func parseApp(d *caddyfile.Dispenser, name string) (*appconfig.App, error) {
	app := new(appconfig.App)
	head := *d
	// places remembers where each setting stands, for its errors.
	places := make(map[string]caddyfile.Dispenser)
	known := make(map[string]Setting)
	for _, s := range appconfig.Settings() {
		known[s.Name] = Setting{Parse: func(d *caddyfile.Dispenser) error {
			places[s.Name] = *d
			if err := s.Set(app, d.RemainingArgs()); err != nil {
				return d.WrapErr(err)
			}
			return nil
		}}
	}
	if err := Block(d, "app "+name, known); err != nil {
		return nil, err
	}
	err := app.Validate(name)
	if err == nil {
		return app, nil
	}
	place := head
	if wrong, ok := errors.AsType[*appconfig.SettingError](err); ok {
		if p, given := places[wrong.Setting]; given {
			place = p
		}
	}
	return nil, place.WrapErr(err)
}
