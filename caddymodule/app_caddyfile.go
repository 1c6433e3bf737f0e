package caddymodule

import (
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("hubspot", parseGlobalOption)
}

// parseGlobalOption makes the app module of the global option hubspot. See
// [App.UnmarshalCaddyfile] for the syntax.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("hubspot: the global option is given twice; put everything into one")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "hubspot", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	hubspot {
//	    store     <name> [<arguments...>] {
//	        …
//	    }
//	    fallback_cache <folder> {
//	        key     <placeholder>
//	        max_age <duration>
//	    }
//	    audit     <file> {
//	        roll_size <size>
//	        roll_keep <number>
//	    }
//	    app       <name> {
//	        client_id          <id>
//	        client_secret      <placeholder>
//	        client_secret_next <placeholder>
//	        credentials        vault <path>
//	        app_id             <number>
//	        scopes             <scopes...>
//	        conditional_scopes <scopes...>
//	        optional_scopes    <scopes...>
//	        scopes_from        <file>
//	        redirect_uri       <url>
//	        quota              <requests> <duration>
//	        search_quota       <requests> <duration>
//	        refresh_quota      <requests> <duration>
//	    }
//	    apps_file <file>
//	    caller    <name> {
//	        key      <placeholder>|sha256:<hex>
//	        cert_san <globs...>
//	        jwt {
//	            issuer    <claim>
//	            jwks_url  <url>
//	            jwks_file <file>
//	            audience  <claim>
//	            subject   <globs...>
//	        }
//	        uid      <numbers...>
//	        gid      <numbers...>
//	        apps     <globs...>
//	        users    <globs...>
//	        allow    <methods> <path glob>
//	        deny     <methods> <path glob>
//	        dry_run
//	    }
//	    endpoints {
//	        api       <url>
//	        authorize <url>
//	        version   <version>
//	    }
//	}
//
// app, caller, key, allow and deny may be given more than once.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume option name
	if d.NextArg() {
		return d.Err("hubspot: takes no value, but a block of settings")
	}
	err := parseBlock(d, "hubspot", map[string]setting{
		"store":          {parse: a.parseStore},
		"fallback_cache": {parse: a.parseFallback},
		"audit":          {parse: a.parseAudit},
		"app":            {parse: a.parseApp, repeatable: true},
		"apps_file":      textSetting(&a.AppsFile),
		"caller":         {parse: a.parseCaller, repeatable: true},
		"endpoints":      {parse: a.Endpoints.unmarshalCaddyfile},
	})
	if err != nil {
		return err
	}
	if len(a.Apps) == 0 && a.AppsFile == "" {
		return d.Err("hubspot: no app is configured: give at least one, as in app <name> { … }, or an apps_file")
	}
	return nil
}

// storeNames are the stores that come with this package.
var storeNames = []string{"vault", "caddy"}

func (a *App) parseStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("store: name the store: %s", strings.Join(storeNames, " or "))
	}
	name := d.Val()
	if _, err := caddy.GetModule("hubspot.stores." + name); err != nil {
		return d.Errf("store: unknown store %q; there are: %s", name, strings.Join(storeNames, ", "))
	}
	unmarshaler, err := caddyfile.UnmarshalModule(d, "hubspot.stores."+name)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(unmarshaler, "type", name, nil)
	return nil
}

func (a *App) parseFallback(d *caddyfile.Dispenser) error {
	a.FallbackCache = new(FallbackCache)
	return a.FallbackCache.unmarshalCaddyfile(d)
}

func (a *App) parseAudit(d *caddyfile.Dispenser) error {
	a.Audit = new(Audit)
	return a.Audit.unmarshalCaddyfile(d)
}

func (a *App) parseApp(d *caddyfile.Dispenser) error {
	name, app, err := parseNamedApp(d, a.Apps)
	if err != nil {
		return err
	}
	if a.Apps == nil {
		a.Apps = make(map[string]*appconfig.App)
	}
	a.Apps[name] = app
	return nil
}

// parseNamedApp reads one app block; its name must not be one of others.
func parseNamedApp(d *caddyfile.Dispenser, others map[string]*appconfig.App) (string, *appconfig.App, error) {
	name, err := newName(d, maps.Keys(others))
	if err != nil {
		return "", nil, err
	}
	if err := appconfig.ValidateName(name); err != nil {
		return "", nil, d.Errf("app %q: %w", name, err)
	}
	app := new(appconfig.App)
	return name, app, unmarshalApp(d, name, app)
}

// newName reads the one argument of an app or a caller, a name that is new.
func newName(d *caddyfile.Dispenser, others func(func(string) bool)) (string, error) {
	kind := d.Val()
	name, err := oneArg(d)
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

// unmarshalApp reads the settings of an app and checks all that can be
// checked without expanding placeholders.
func unmarshalApp(d *caddyfile.Dispenser, name string, app *appconfig.App) error {
	head := *d
	// places remembers where each setting stands, for its errors.
	places := make(map[string]caddyfile.Dispenser)
	settings := appSettings(app)
	for name, s := range settings {
		parse := s.parse
		s.parse = func(d *caddyfile.Dispenser) error {
			places[name] = *d
			return parse(d)
		}
		settings[name] = s
	}
	if err := parseBlock(d, "app "+name, settings); err != nil {
		return err
	}
	err := app.Validate(name)
	if err == nil {
		return nil
	}
	place := head
	if wrong, ok := errors.AsType[*appconfig.SettingError](err); ok {
		if p, given := places[wrong.Setting]; given {
			place = p
		}
	}
	return place.WrapErr(err)
}

func appSettings(app *appconfig.App) map[string]setting {
	return map[string]setting{
		appconfig.SettingClientID:          textSetting(&app.ClientID),
		appconfig.SettingClientSecret:      secretSetting(&app.ClientSecret),
		appconfig.SettingClientSecretNext:  secretSetting(&app.ClientSecretNext),
		appconfig.SettingCredentials:       {parse: parseCredentials(&app.Credentials)},
		appconfig.SettingAppID:             {parse: parseAppID(&app.AppID)},
		appconfig.SettingScopes:            listSetting(&app.Scopes),
		appconfig.SettingConditionalScopes: listSetting(&app.ConditionalScopes),
		appconfig.SettingOptionalScopes:    listSetting(&app.OptionalScopes),
		appconfig.SettingScopesFrom:        textSetting(&app.ScopesFrom),
		appconfig.SettingRedirectURI:       textSetting(&app.RedirectURI),
		appconfig.SettingQuota:             {parse: parseRate(&app.Quota)},
		appconfig.SettingSearchQuota:       {parse: parseRate(&app.SearchQuota)},
		appconfig.SettingRefreshQuota:      {parse: parseRate(&app.RefreshQuota)},
	}
}

func parseCredentials(target *string) func(d *caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.Err("credentials: give vault and a path, as in: credentials vault secret/hubspot-apps/hbdev")
		}
		*target = strings.Join(args, " ")
		return nil
	}
}

func parseAppID(target *int64) func(d *caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		value, err := oneArg(d)
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(value, 10, 64)
		if err != nil || id <= 0 {
			return d.Errf("app_id: %q is not a positive number; it is on the app's page in HubSpot", value)
		}
		*target = id
		return nil
	}
}

func parseRate(target *appconfig.Rate) func(d *caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		var count, per string
		if !d.AllArgs(&count, &per) {
			return d.Errf("%s: give a number of requests and a span of time, as in: %s 110 10s", name, name)
		}
		rate, err := appconfig.ParseRate(count, per)
		if err != nil {
			return d.Errf("%s: %w", name, err)
		}
		*target = rate
		return nil
	}
}

func (a *App) parseCaller(d *caddyfile.Dispenser) error {
	name, err := newName(d, maps.Keys(a.Callers))
	if err != nil {
		return err
	}
	caller := new(Caller)
	if err := caller.unmarshalCaddyfile(d, name); err != nil {
		return err
	}
	if a.Callers == nil {
		a.Callers = make(map[string]*Caller)
	}
	a.Callers[name] = caller
	return nil
}

func (e *Endpoints) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("endpoints: takes no value, but a block of settings")
	}
	checked := func(target *string, one func() hubspot.Endpoints) setting {
		return setting{parse: func(d *caddyfile.Dispenser) error {
			if err := textSetting(target).parse(d); err != nil {
				return err
			}
			if hasPlaceholder(*target) {
				return nil
			}
			if err := one().Validate(); err != nil {
				return d.WrapErr(err)
			}
			return nil
		}}
	}
	return parseBlock(d, "endpoints", map[string]setting{
		"api":       checked(&e.API, func() hubspot.Endpoints { return hubspot.Endpoints{API: e.API} }),
		"authorize": checked(&e.Authorize, func() hubspot.Endpoints { return hubspot.Endpoints{Authorize: e.Authorize} }),
		"version":   checked(&e.Version, func() hubspot.Endpoints { return hubspot.Endpoints{Version: e.Version} }),
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
