package access

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// CallerConfig is what the configuration says about a caller.
type CallerConfig struct {
	// Name is 1 to 64 letters, digits, `-`, `_` and `.`, and does not start
	// with a dash. Names compare case-insensitively.
	Name string
	// Keys are the caller's keys: literals of at least [MinKeyLength]
	// characters, or sha256: and the digest of the key in hex. A caller
	// needs a key or one of the other ways to be known: Certificates,
	// Token, UIDs and GIDs.
	Keys []secret.Text
	// Certificates are globs over the subject alternative names of client
	// certificates. The form of a glob says for which kind it is: with a
	// scheme for URIs, with an @ for e-mail addresses, of digits, dots and
	// colons for IP addresses, else for DNS names, which alone compare
	// case-insensitively. A * stays within one label: it passes no dot of a
	// DNS name, no slash of a URI's path and no dot of its host, no @ and no
	// dot after it of an e-mail address, no dot or colon of an IP address.
	// ** passes everything, and * alone is for all names. URIs with dot
	// segments, empty segments or encoded slashes match nothing.
	Certificates []string
	// Token says which JWTs are the caller's. Nil for none.
	Token *TokenConfig
	// UIDs and GIDs are the users and groups of processes at the other end
	// of a unix socket. Where both are given, both must match.
	UIDs, GIDs []uint32
	// Apps are globs over app names, compared case-insensitively. Empty
	// means all.
	Apps []string
	// Users are globs over user identifiers. Empty means all.
	Users []string
	// Allow are the requests that the caller may make. Empty means all.
	Allow []Rule
	// Deny are the requests that the caller may not make, whatever Allow says.
	Deny []Rule
	// AppCalls lets the caller make calls of an app itself, with the app's
	// own token and for no user.
	AppCalls bool
	// Share is how many turns the caller has where others have one, among
	// those who wait for a portal's quota: 1 to [MaxShare]. 0 is 1.
	Share int
	// DryRun has what the policy refuses noted and not refused. That is up
	// to who asks: verdicts are the same, see [Caller.DryRun].
	DryRun bool
}

// MaxShare is the largest share of a caller.
const MaxShare = 1000

// Caller is a program that calls the sidecar, with its policy. The zero value
// may do nothing. Callers are immutable and safe for concurrent use.
type Caller struct {
	name  string
	keys  []digest
	known identities
	apps  []Glob
	users []Glob
	allow []Rule
	deny  []Rule
	// anyRequest is set when there is no allow rule.
	anyRequest bool
	dryRun     bool
	share      int
	appCalls   bool

	// issuer and scope are set for a user token: what the caller who issued
	// it may do binds it as well. See [Caller.Narrow].
	issuer *Caller
	scope  *Scope
}

var callerName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}$`)

// NewCaller checks a configuration and makes the caller. Its errors name the
// setting and never hold a key.
func NewCaller(config CallerConfig) (*Caller, error) {
	c, err := newCaller(config)
	if err != nil {
		return nil, fmt.Errorf("caller %q: %w", config.Name, err)
	}
	return c, nil
}

func newCaller(config CallerConfig) (*Caller, error) {
	if !callerName.MatchString(config.Name) {
		return nil, errors.New("a name is 1 to 64 letters, digits, -, _ and ., and does not start with -")
	}
	keys, err := parseKeys(config.Keys)
	if err != nil {
		return nil, err
	}
	known, err := newIdentities(config)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 && known.none() {
		return nil, errNoIdentity
	}
	apps, err := compileGlobs("apps", config.Apps, checkAppGlob)
	if err != nil {
		return nil, err
	}
	users, err := compileGlobs("users", config.Users, func(string) error { return nil })
	if err != nil {
		return nil, err
	}
	if err := checkRules("allow", config.Allow); err != nil {
		return nil, err
	}
	if err := checkRules("deny", config.Deny); err != nil {
		return nil, err
	}
	if config.Share < 0 || config.Share > MaxShare {
		return nil, fmt.Errorf("share: %d is not a number from 1 to %d", config.Share, MaxShare)
	}
	return &Caller{
		name: config.Name, keys: keys, known: known, apps: apps, users: users,
		allow: slices.Clone(config.Allow), deny: slices.Clone(config.Deny),
		anyRequest: len(config.Allow) == 0, dryRun: config.DryRun, share: config.Share, appCalls: config.AppCalls,
	}, nil
}

// Open returns the caller that stands for a request without a key where the
// configuration says `open`. Its name is empty and it may do everything that
// is not blocked.
func Open() *Caller {
	all := []Glob{{pattern: "*", exact: cut("*"), folded: cut("*")}}
	return &Caller{apps: all, users: all, anyRequest: true}
}

func parseKeys(keys []secret.Text) ([]digest, error) {
	digests := make([]digest, 0, len(keys))
	for i, key := range keys {
		d, err := parseKey(key)
		if err == nil && slices.Contains(digests, d) {
			err = errors.New("is given twice")
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		digests = append(digests, d)
	}
	return digests, nil
}

func checkAppGlob(pattern string) error {
	if strings.Trim(pattern, "*abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return fmt.Errorf("glob %q can never match: app names have letters, digits, - and _ only", pattern)
	}
	return nil
}

func checkRules(setting string, rules []Rule) error {
	seen := make(map[string]bool, len(rules))
	for _, rule := range rules {
		if rule.IsZero() {
			return fmt.Errorf("%s: a rule needs methods and a path glob, such as GET,POST /crm/*", setting)
		}
		if seen[rule.String()] {
			return fmt.Errorf("%s: rule %q is given twice", setting, rule)
		}
		seen[rule.String()] = true
	}
	return nil
}

// Name returns the caller's name; it is empty for the caller of [Open].
func (c *Caller) Name() string { return c.name }

// DryRun reports whether the caller's policy is on trial: what it refuses is
// to be noted and let pass. That of a user token never is: it is held to its
// own scope and to its issuer's policy.
func (c *Caller) DryRun() bool { return c.dryRun }

// Share is how many turns the caller has where others have one, among those
// who wait for a portal's quota. A user token has part in those of its issuer.
func (c *Caller) Share() int { return max(c.share, 1) }

// String returns the caller's name.
func (c *Caller) String() string { return c.name }

// UnmatchedApps returns the globs of the caller's apps setting that match none
// of the given app names: a misspelt app, most likely.
func (c *Caller) UnmatchedApps(names []string) []string {
	var unmatched []string
	for _, g := range c.apps {
		if g.pattern != "*" && !slices.ContainsFunc(names, g.MatchFold) {
			unmatched = append(unmatched, g.String())
		}
	}
	return unmatched
}

// MayApp reports whether the caller may use the app at all. App names compare
// case-insensitively.
func (c *Caller) MayApp(app string) bool {
	if c.issuer != nil && !c.issuer.MayApp(app) {
		return false
	}
	for _, g := range c.apps {
		if g.MatchFold(app) {
			return true
		}
	}
	return false
}

// MayUser reports whether the caller may act for the user.
func (c *Caller) MayUser(user string) bool {
	if c.issuer != nil && !c.issuer.MayUser(user) {
		return false
	}
	for _, g := range c.users {
		if g.Match(user) {
			return true
		}
	}
	return false
}
