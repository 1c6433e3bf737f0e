package sidecar

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// unmarshalCaddyfile reads a caller's block. Everything but the value of a
// placeholder is checked after each setting, so that errors carry its line.
//
//	caller <name> {
//	    key      <placeholder>|sha256:<hex>
//	    cert_san <globs...>
//	    jwt {
//	        …
//	    }
//	    uid      <numbers...>
//	    gid      <numbers...>
//	    apps     <globs...>
//	    users    <globs...>
//	    allow    <methods> <path glob>
//	    deny     <methods> <path glob>
//	    app_calls
//	    share    <number>
//	    dry_run
//	}
func (c *Caller) unmarshalCaddyfile(d *caddyfile.Dispenser, name string) error {
	check := func() error { return c.checkLiterals(name) }
	checked := func(s settings.Setting) settings.Setting { return settings.Checked(s, check) }
	err := settings.Block(d, "caller "+name, map[string]settings.Setting{
		"key":       checked(settings.Setting{Parse: c.parseKey, Repeatable: true}),
		"cert_san":  checked(settings.List(&c.CertSAN)),
		"jwt":       checked(settings.Setting{Parse: func(d *caddyfile.Dispenser) error { return c.parseJWT(d, name) }}),
		"uid":       checked(ids(&c.UID)),
		"gid":       checked(ids(&c.GID)),
		"apps":      checked(settings.List(&c.Apps)),
		"users":     checked(settings.List(&c.Users)),
		"allow":     checked(rules(&c.Allow)),
		"deny":      checked(rules(&c.Deny)),
		"app_calls": settings.Flag(&c.AppCalls),
		"share":     settings.Number(&c.Share, 1, access.MaxShare),
		"dry_run":   settings.Flag(&c.DryRun),
	})
	if err != nil {
		return err
	}
	if len(c.Keys)+len(c.CertSAN)+len(c.UID)+len(c.GID) == 0 && c.JWT == nil {
		return d.Errf("caller %s: nothing says how to know it: give a key, as a placeholder such as {env.X} or sha256:<hex>, or cert_san, jwt, uid or gid", name)
	}
	if err := check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (c *Caller) parseJWT(d *caddyfile.Dispenser, name string) error {
	c.JWT = new(CallerJWT)
	return c.JWT.unmarshalCaddyfile(d, name)
}

// ids is a setting with the numbers of users or groups.
func ids(target *[]uint32) settings.Setting {
	return settings.Setting{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.Errf("%s: give at least one number", name)
		}
		for _, value := range values {
			id, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return d.Errf("%s: %q is not a number; names are not looked up, and the command id shows the numbers", name, value)
			}
			*target = append(*target, uint32(id))
		}
		return nil
	}}
}

func (c *Caller) parseKey(d *caddyfile.Dispenser) error {
	value, err := settings.OneArg(d)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(value, hashedKey) && !placeholder.IsSecret(value) {
		return d.Errf("key: %s; or give the hash of the key, as sha256:<hex>", placeholder.LiteralSecret)
	}
	c.Keys = append(c.Keys, value)
	return nil
}

// rules is a repeatable setting of methods and a path.
func rules(target *[]string) settings.Setting {
	return settings.Setting{Repeatable: true, Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		var methods, path string
		if !d.AllArgs(&methods, &path) {
			return d.Errf("%s: give methods and one path, as in: %s GET,POST /crm/*", name, name)
		}
		*target = append(*target, methods+" "+path)
		return nil
	}}
}
