package sidecar

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("hubspot", parseGlobalOption)
}

// parseGlobalOption makes the app module of the global option hubspot. See
// [Sidecar.UnmarshalCaddyfile] for the syntax.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("hubspot: the global option is given twice; put everything into one")
	}
	s := new(Sidecar)
	if err := s.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "hubspot", Value: caddyconfig.JSON(s, nil)}, nil
}

// UnmarshalCaddyfile sets up the Sidecar from Caddyfile tokens. Syntax:
//
//	hubspot {
//	    store     <name> [<arguments...>] {
//	        …
//	    }
//	    migrate_from <name> [<arguments...>] {
//	        …
//	    }
//	    export_to <public keys...>
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
//	        static
//	        app_id             <number>
//	        scopes             <scopes...>
//	        conditional_scopes <scopes...>
//	        optional_scopes    <scopes...>
//	        scopes_from        <file>
//	        app_scopes         <scopes...>
//	        journal
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
func (s *Sidecar) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume option name
	if d.NextArg() {
		return d.Err("hubspot: takes no value, but a block of settings")
	}
	err := settings.Block(d, "hubspot", map[string]settings.Setting{
		"store":          {Parse: func(d *caddyfile.Dispenser) error { return parseStore(d, "store", &s.StoreRaw) }},
		"export_to":      settings.List(&s.ExportTo),
		"migrate_from":   {Parse: func(d *caddyfile.Dispenser) error { return parseStore(d, "migrate_from", &s.MigrateFromRaw) }},
		"fallback_cache": {Parse: s.parseFallback},
		"audit":          {Parse: s.parseAudit},
		"app":            settings.Apps(&s.AppSettings),
		"apps_file":      settings.Text(&s.AppsFile),
		"caller":         {Parse: s.parseCaller, Repeatable: true},
		"endpoints":      {Parse: s.EndpointSettings.unmarshalCaddyfile},
	})
	if err != nil {
		return err
	}
	if len(s.AppSettings) == 0 && s.AppsFile == "" {
		return d.Err("hubspot: no app is configured: give at least one, as in app <name> { … }, or an apps_file")
	}
	return nil
}

// storeNames are the stores that come with this package.
var storeNames = []string{"vault", "caddy"}

func parseStore(d *caddyfile.Dispenser, setting string, raw *json.RawMessage) error {
	if !d.NextArg() {
		return d.Errf("%s: name the store: %s", setting, strings.Join(storeNames, " or "))
	}
	name := d.Val()
	if _, err := caddy.GetModule("hubspot.stores." + name); err != nil {
		return d.Errf("%s: unknown store %q; there are: %s", setting, name, strings.Join(storeNames, ", "))
	}
	unmarshaler, err := caddyfile.UnmarshalModule(d, "hubspot.stores."+name)
	if err != nil {
		return err
	}
	*raw = caddyconfig.JSONModuleObject(unmarshaler, "type", name, nil)
	return nil
}

func (s *Sidecar) parseFallback(d *caddyfile.Dispenser) error {
	s.FallbackCache = new(FallbackCache)
	return s.FallbackCache.unmarshalCaddyfile(d)
}

func (s *Sidecar) parseAudit(d *caddyfile.Dispenser) error {
	s.AuditSettings = new(Audit)
	return s.AuditSettings.unmarshalCaddyfile(d)
}

func (s *Sidecar) parseCaller(d *caddyfile.Dispenser) error {
	name, err := settings.NewName(d, maps.Keys(s.Callers))
	if err != nil {
		return err
	}
	caller := new(Caller)
	if err := caller.unmarshalCaddyfile(d, name); err != nil {
		return err
	}
	if s.Callers == nil {
		s.Callers = make(map[string]*Caller)
	}
	s.Callers[name] = caller
	return nil
}

func (e *Endpoints) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("endpoints: takes no value, but a block of settings")
	}
	checked := func(target *string, one func() hubspot.Endpoints) settings.Setting {
		return settings.Checked(settings.Text(target), func() error {
			if placeholder.In(*target) {
				return nil
			}
			return one().Validate()
		})
	}
	return settings.Block(d, "endpoints", map[string]settings.Setting{
		"api":       checked(&e.API, func() hubspot.Endpoints { return hubspot.Endpoints{API: e.API} }),
		"authorize": checked(&e.Authorize, func() hubspot.Endpoints { return hubspot.Endpoints{Authorize: e.Authorize} }),
		"version":   checked(&e.Version, func() hubspot.Endpoints { return hubspot.Endpoints{Version: e.Version} }),
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Sidecar)(nil)
