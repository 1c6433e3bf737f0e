package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Caller is a program that may call, and what it may do. In lists of names
// and paths `*` stands for any run of characters, `/` included.
type Caller struct {
	// The caller's keys, at least one; more than one while a key is being
	// replaced. Each is a placeholder such as `{env.CRM_SYNC_KEY}`, or
	// `sha256:` and the SHA-256 of the key in hex. A key has at least 20
	// characters.
	Keys []string `json:"keys,omitempty"`

	// The HubSpot apps that the caller may use. Default: all.
	Apps []string `json:"apps,omitempty"`

	// The users (customers) that the caller may act for. Default: all.
	Users []string `json:"users,omitempty"`

	// The requests to HubSpot that the caller may make, each as methods,
	// a space, and a path without query: `GET,POST /crm/*`. `*` is every
	// method. Default: all requests.
	Allow []string `json:"allow,omitempty"`

	// The requests to HubSpot that the caller may not make, whatever
	// `allow` says: `* /crm/*/gdpr-delete`. Default: none.
	Deny []string `json:"deny,omitempty"`
}

// hashedKey is how a key is given without giving it away.
const hashedKey = "sha256:"

// unmarshalCaddyfile reads a caller's block. Everything but the value of a
// placeholder is checked after each setting, so that errors carry its line.
//
//	caller <name> {
//	    key   <placeholder>|sha256:<hex>
//	    apps  <globs...>
//	    users <globs...>
//	    allow <methods> <path glob>
//	    deny  <methods> <path glob>
//	}
func (c *Caller) unmarshalCaddyfile(d *caddyfile.Dispenser, name string) error {
	checked := func(s setting) setting {
		parse := s.parse
		s.parse = func(d *caddyfile.Dispenser) error {
			if err := parse(d); err != nil {
				return err
			}
			return c.checkLiterals(d, name)
		}
		return s
	}
	err := parseBlock(d, "caller "+name, map[string]setting{
		"key":   checked(setting{parse: c.parseKey, repeatable: true}),
		"apps":  checked(listSetting(&c.Apps)),
		"users": checked(listSetting(&c.Users)),
		"allow": checked(ruleSetting(&c.Allow)),
		"deny":  checked(ruleSetting(&c.Deny)),
	})
	if err != nil {
		return err
	}
	if len(c.Keys) == 0 {
		return d.Errf("caller %s: key is missing: give a placeholder such as {env.X}, or sha256:<hex>", name)
	}
	return c.checkLiterals(d, name)
}

func (c *Caller) parseKey(d *caddyfile.Dispenser) error {
	value, err := oneArg(d)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(value, hashedKey) && !isPlaceholder(value) {
		return d.Errf("key: %s; or give the hash of the key, as sha256:<hex>", literalSecret)
	}
	c.Keys = append(c.Keys, value)
	return nil
}

// ruleSetting is a repeatable setting of methods and a path.
func ruleSetting(target *[]string) setting {
	return setting{repeatable: true, parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		var methods, path string
		if !d.AllArgs(&methods, &path) {
			return d.Errf("%s: give methods and one path, as in: %s GET,POST /crm/*", name, name)
		}
		*target = append(*target, methods+" "+path)
		return nil
	}}
}

// checkLiterals checks what can be checked without expanding placeholders. A
// key that is a placeholder is stood for by the hash of its name.
func (c *Caller) checkLiterals(d *caddyfile.Dispenser, name string) error {
	keys := make([]secret.Text, 0, len(c.Keys)+1)
	for _, key := range c.Keys {
		if !strings.HasPrefix(key, hashedKey) {
			key = hashOf(key)
		}
		keys = append(keys, secret.New(key))
	}
	if len(keys) == 0 {
		keys = append(keys, secret.New(hashOf("")))
	}
	if _, err := c.build(name, keys); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashedKey + hex.EncodeToString(sum[:])
}

// build makes the caller of its settings and expanded keys.
func (c *Caller) build(name string, keys []secret.Text) (*access.Caller, error) {
	config := access.CallerConfig{Name: name, Keys: keys, Apps: c.Apps, Users: c.Users}
	var err error
	if config.Allow, err = parseRules(name, "allow", c.Allow); err != nil {
		return nil, err
	}
	if config.Deny, err = parseRules(name, "deny", c.Deny); err != nil {
		return nil, err
	}
	return access.NewCaller(config)
}

func parseRules(caller, setting string, texts []string) ([]access.Rule, error) {
	rules := make([]access.Rule, 0, len(texts))
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			return nil, fmt.Errorf("caller %q: %s: %w", caller, setting, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// provision expands the keys and makes the caller.
func (c *Caller) provision(name string, repl *caddy.Replacer) (*access.Caller, error) {
	keys := make([]secret.Text, 0, len(c.Keys))
	for i, key := range c.Keys {
		if strings.HasPrefix(key, hashedKey) {
			keys = append(keys, secret.New(key))
			continue
		}
		value, err := expandSecret(repl, key)
		if err != nil {
			return nil, fmt.Errorf("caller %q: key %d: %w", name, i+1, err)
		}
		keys = append(keys, value)
	}
	return c.build(name, keys)
}

// provisionCallers makes the registry of all callers, nil if there are none.
// apps are the names of the configured apps.
func (a *App) provisionCallers(repl *caddy.Replacer, apps []string) (*access.Registry, error) {
	if len(a.Callers) == 0 {
		return nil, nil
	}
	callers := make([]*access.Caller, 0, len(a.Callers))
	for _, name := range slices.Sorted(maps.Keys(a.Callers)) {
		settings := a.Callers[name]
		if settings == nil {
			return nil, fmt.Errorf("caller %q: has no settings", name)
		}
		caller, err := settings.provision(name, repl)
		if err != nil {
			return nil, err
		}
		if unmatched := caller.UnmatchedApps(apps); len(unmatched) > 0 {
			return nil, fmt.Errorf("caller %q: apps: %q matches none of the configured apps (%s)", name,
				unmatched[0], strings.Join(apps, ", "))
		}
		callers = append(callers, caller)
	}
	return access.NewRegistry(callers)
}

// expandSecret reads the placeholders of a secret. The error does not hold
// the value.
func expandSecret(repl *caddy.Replacer, value string) (secret.Text, error) {
	if !isPlaceholder(value) {
		return secret.Text{}, errors.New(literalSecret)
	}
	expanded, err := repl.ReplaceOrErr(value, true, true)
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(expanded), nil
}
