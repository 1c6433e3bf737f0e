package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Caller is a program that may call, and what it may do. In lists of names
// and paths `*` stands for any run of characters, `/` included.
//
// A caller is known by at least one of `keys`, `cert_san`, `jwt`, `uid` and
// `gid`. If a request has an Authorization header, that has to be right and
// decides; without one the client certificate does, and then the peer of the
// unix socket. A request that matches two callers is refused.
type Caller struct {
	// The caller's keys; more than one while a key is being replaced. Each
	// is a placeholder such as `{env.CRM_SYNC_KEY}`, or `sha256:` and the
	// SHA-256 of the key in hex. A key has at least 20 characters.
	Keys []string `json:"keys,omitempty"`

	// Names in the client certificates that are the caller's (subject
	// alternative names; the common name is not regarded). The form says of
	// which kind a name is: `spiffe://prod/ns/crm/*` is a URI,
	// `*.crm.internal` a DNS name, `sync@example.com` an e-mail and
	// `10.1.*` an IP address; `*` alone is any. Case counts but in DNS
	// names. A certificate counts only if Caddy has verified it, for which
	// the site's `tls` needs `client_auth` with a `trust_pool` and the mode
	// `verify_if_given` or `require_and_verify`. Requests that a browser
	// makes for a page of another site are refused.
	CertSAN []string `json:"cert_san,omitempty"`

	// The JWTs that are the caller's, such as those of a Kubernetes service
	// account.
	JWT *CallerJWT `json:"jwt,omitempty"`

	// The users of the operating system, as numbers, whose programs are the
	// caller when they connect by a unix socket. Linux only. 65534 is also
	// what users of other namespaces, as in containers, look like. If `gid`
	// is given too, both have to match.
	UID []uint32 `json:"uid,omitempty"`

	// The groups of the operating system, as numbers: as `uid`, by a
	// program's primary group.
	GID []uint32 `json:"gid,omitempty"`

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

	// Log and count what `apps`, `users`, `allow` and `deny` refuse, and let
	// it pass, to try them out. What no caller may do stays refused.
	DryRun bool `json:"dry_run,omitempty"`
}

// hashedKey is how a key is given without giving it away.
const hashedKey = "sha256:"

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
//	    dry_run
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
		"key":      checked(setting{parse: c.parseKey, repeatable: true}),
		"cert_san": checked(listSetting(&c.CertSAN)),
		"jwt":      checked(setting{parse: func(d *caddyfile.Dispenser) error { return c.parseJWT(d, name) }}),
		"uid":      checked(idSetting(&c.UID)),
		"gid":      checked(idSetting(&c.GID)),
		"apps":     checked(listSetting(&c.Apps)),
		"users":    checked(listSetting(&c.Users)),
		"allow":    checked(ruleSetting(&c.Allow)),
		"deny":     checked(ruleSetting(&c.Deny)),
		"dry_run":  flagSetting(&c.DryRun),
	})
	if err != nil {
		return err
	}
	if len(c.Keys)+len(c.CertSAN)+len(c.UID)+len(c.GID) == 0 && c.JWT == nil {
		return d.Errf("caller %s: nothing says how to know it: give a key, as a placeholder such as {env.X} or sha256:<hex>, or cert_san, jwt, uid or gid", name)
	}
	return c.checkLiterals(d, name)
}

func (c *Caller) parseJWT(d *caddyfile.Dispenser, name string) error {
	c.JWT = new(CallerJWT)
	return c.JWT.unmarshalCaddyfile(d, name)
}

// idSetting is a setting with the numbers of users or groups.
func idSetting(target *[]uint32) setting {
	return setting{parse: func(d *caddyfile.Dispenser) error {
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
	if _, err := c.build(name, keys, c.JWT); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashedKey + hex.EncodeToString(sum[:])
}

// build makes the caller of its settings, its expanded keys and the expanded
// setting jwt.
func (c *Caller) build(name string, keys []secret.Text, jwt *CallerJWT) (*access.Caller, error) {
	config := access.CallerConfig{
		Name: name, Keys: keys, Certificates: c.CertSAN, Token: jwt.config(), UIDs: c.UID, GIDs: c.GID,
		Apps: c.Apps, Users: c.Users, DryRun: c.DryRun,
	}
	err := jwt.check()
	if err == nil && !knowsPeers && len(c.UID)+len(c.GID) > 0 {
		err = errors.New("uid and gid: only Linux tells who is at the other end of a unix socket")
	}
	if err != nil {
		return nil, fmt.Errorf("caller %q: %w", name, err)
	}
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

// provision expands the keys and makes the caller. jwt is the setting of that
// name, expanded.
func (c *Caller) provision(name string, repl *caddy.Replacer) (caller *access.Caller, jwt *CallerJWT, err error) {
	keys := make([]secret.Text, 0, len(c.Keys))
	for i, key := range c.Keys {
		if strings.HasPrefix(key, hashedKey) {
			keys = append(keys, secret.New(key))
			continue
		}
		value, err := expandSecret(repl, key)
		if err != nil {
			return nil, nil, fmt.Errorf("caller %q: key %d: %w", name, i+1, err)
		}
		keys = append(keys, value)
	}
	if jwt, err = c.JWT.expand(repl); err != nil {
		return nil, nil, fmt.Errorf("caller %q: %w", name, err)
	}
	caller, err = c.build(name, keys, jwt)
	return caller, jwt, err
}

// provisionCallers makes the registry of all callers and what verifies their
// tokens; both stay nil if there is nothing for them. apps are the names of
// the configured apps.
func (a *App) provisionCallers(ctx caddy.Context, repl *caddy.Replacer, apps []string) (err error) {
	if len(a.Callers) == 0 {
		return nil
	}
	var known issuers
	defer func() { a.releases = append(a.releases, known.releases...) }()
	callers := make([]*access.Caller, 0, len(a.Callers))
	for _, name := range slices.Sorted(maps.Keys(a.Callers)) {
		settings := a.Callers[name]
		if settings == nil {
			return fmt.Errorf("caller %q: has no settings", name)
		}
		caller, jwt, err := settings.provision(name, repl)
		if err != nil {
			return err
		}
		if unmatched := caller.UnmatchedApps(apps); len(unmatched) > 0 {
			return fmt.Errorf("caller %q: apps: %q matches none of the configured apps (%s)", name,
				unmatched[0], strings.Join(apps, ", "))
		}
		if err := known.add(name, jwt, ctx.Slogger()); err != nil {
			return fmt.Errorf("caller %q: %w", name, err)
		}
		if caller.DryRun() {
			a.logger.Warn("the policy of a caller is on trial (dry_run): what it refuses is let pass", zap.String("caller", name))
		}
		callers = append(callers, caller)
	}
	a.jwts = known.verifier()
	a.callers, err = access.NewRegistry(callers)
	return err
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
