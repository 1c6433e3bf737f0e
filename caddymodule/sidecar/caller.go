package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/peercred"
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
	// which kind a name is: `spiffe://prod/ns/crm/sa/*` is a URI,
	// `*.crm.internal` a DNS name, `sync@example.com` an e-mail and
	// `10.1.**` an IP address. A `*` stays within one label: it passes no
	// dot of a DNS name, no slash of a URI's path and no dot of its host, no
	// `@` and no dot after it of an e-mail address, and no dot or colon of an
	// IP address; `**` passes everything, and `*` alone is any name. URIs
	// with dot segments, empty segments or encoded slashes match nothing.
	// Case counts but in DNS names. A certificate counts only if Caddy has verified it, for which
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

	// Let the caller make calls as the app itself, with the prefix `/as-app/`
	// or the header `X-HubSpot-As: app`: with the app's own token, for no
	// user, on what concerns all accounts of the app, such as the webhooks
	// journal. `apps`, `allow` and `deny` hold for them. No user token of
	// the caller may. Default: no.
	AppCalls bool `json:"app_calls,omitempty"`

	// The caller's part of an account's quota among those who wait for it: how
	// many turns it has where others have one, 1 to 1000. Its user tokens have
	// equal parts of that. Below the quota it has no effect. Default: 1.
	Share int `json:"share,omitempty"`

	// Log and count what `apps`, `users`, `allow` and `deny` refuse, and let
	// it pass, to try them out. What no caller may do stays refused.
	DryRun bool `json:"dry_run,omitempty"`
}

// hashedKey is how a key is given without giving it away.
const hashedKey = "sha256:"

// checkLiterals checks what can be checked without expanding placeholders. A
// key that is a placeholder is stood for by the hash of its name.
func (c *Caller) checkLiterals(name string) error {
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
	_, err := c.build(name, keys, c.JWT)
	return err
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
		Apps: c.Apps, Users: c.Users, AppCalls: c.AppCalls, Share: c.Share, DryRun: c.DryRun,
	}
	err := jwt.check()
	if err == nil && !peercred.Known && len(c.UID)+len(c.GID) > 0 {
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

// expand expands the keys and makes the caller. jwt is the setting of that name,
// expanded.
func (c *Caller) expand(name string, f *files) (caller *access.Caller, jwt *CallerJWT, err error) {
	keys := make([]secret.Text, 0, len(c.Keys))
	for i, key := range c.Keys {
		if strings.HasPrefix(key, hashedKey) {
			keys = append(keys, secret.New(key))
			continue
		}
		e := f.expander()
		keys = append(keys, e.Secret(fmt.Sprintf("caller %q: key %d", name, i+1), key))
		if err := e.Err(); err != nil {
			return nil, nil, err
		}
	}
	if jwt, err = c.JWT.expand(f.expander()); err != nil {
		return nil, nil, fmt.Errorf("caller %q: %w", name, err)
	}
	caller, err = c.build(name, keys, jwt)
	return caller, jwt, err
}

// provisionCallers makes the registry of all callers and what verifies their
// tokens; both stay nil if there is nothing for them.
func (g *Generation) provisionCallers(apps []appconfig.Resolved) (err error) {
	if len(g.car.Callers) == 0 {
		return nil
	}
	appNames := make([]string, 0, len(apps))
	for _, app := range apps {
		appNames = append(appNames, appconfig.CanonicalName(app.Name))
	}
	issuers := make(issuers)
	callers := make([]*access.Caller, 0, len(g.car.Callers))
	for _, name := range slices.Sorted(maps.Keys(g.car.Callers)) {
		if g.car.Callers[name] == nil {
			return fmt.Errorf("caller %q: has no settings", name)
		}
		caller, jwt, err := g.car.Callers[name].expand(name, g.files)
		if err != nil {
			return err
		}
		if unmatched := caller.UnmatchedApps(appNames); len(unmatched) > 0 {
			return fmt.Errorf("caller %q: apps: %q matches none of the configured apps (%s)", name,
				unmatched[0], strings.Join(appNames, ", "))
		}
		if err := issuers.add(name, jwt, g.acquireKeySet); err != nil {
			return fmt.Errorf("caller %q: %w", name, err)
		}
		if caller.DryRun() {
			g.onTrial = append(g.onTrial, name)
		}
		callers = append(callers, caller)
	}
	g.jwts = issuers.verifier()
	g.callers, err = access.NewRegistry(callers)
	return err
}
