package access

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// ErrAmbiguous means that servers read the request in ways that get different
// verdicts, so that none of the verdicts can be relied on. The request is a
// bad one (400).
var ErrAmbiguous = errors.New("the path can be read in different ways that are not all permitted")

// Dimension is the part of a request that a policy refuses.
type Dimension string

// The dimensions of a policy.
const (
	DimensionApp    Dimension = "app"
	DimensionUser   Dimension = "user"
	DimensionMethod Dimension = "method"
	DimensionPath   Dimension = "path"
	// DimensionAppCalls is the right to make calls of an app itself.
	DimensionAppCalls Dimension = "app_calls"
)

// Denial is the error for a request that the caller's policy refuses (403).
// Its text holds neither the user nor the path.
type Denial struct {
	// Caller is the caller's name.
	Caller string
	// Token is set if it is the caller's user token that is not for this,
	// whatever the caller itself may do.
	Token bool
	// Dimension says what about the request is refused.
	Dimension Dimension
	// Rule is the deny rule that matched, as configured; empty where no
	// allow rule matched.
	Rule string
}

// Error names the dimension.
func (d *Denial) Error() string {
	var what string
	switch d.Dimension {
	case DimensionApp:
		what = "may not use this app"
	case DimensionUser:
		what = "may not act for this user"
	case DimensionMethod:
		what = "may not use this method on this path"
	case DimensionPath:
		what = "may not use this path"
	case DimensionAppCalls:
		what = "may not call as the app itself: that takes the setting app_calls"
	}
	if d.Rule != "" {
		what += fmt.Sprintf(" (denied by %q)", d.Rule)
	}
	who := "caller"
	if d.Token {
		who = "this user token of caller"
	}
	return fmt.Sprintf("%s %q %s", who, d.Caller, what)
}

// Check judges a whole request: the app, the user, and the method on the path
// in all its readings (see [Readings]). It returns nil, a [*Denial], or an
// error that wraps [ErrAmbiguous].
func (c *Caller) Check(app, user, method string, readings []string) error {
	if err := c.CheckUser(app, user); err != nil {
		return err
	}
	return c.CheckPath(method, readings)
}

// CheckUser judges the app and the user. It returns nil or a [*Denial]. An
// empty user is one that the request does not name; it is not judged.
func (c *Caller) CheckUser(app, user string) error {
	if c.issuer != nil {
		if err := c.issuer.CheckUser(app, user); err != nil {
			return err
		}
	}
	if !c.MayApp(app) {
		return c.denial(DimensionApp, "")
	}
	if user != "" && !c.MayUser(user) {
		return c.denial(DimensionUser, "")
	}
	return nil
}

// CheckAppCalls judges whether the caller may make calls of an app itself, with
// the app's own token and for no user. It returns nil or a [*Denial]. No user
// token may.
func (c *Caller) CheckAppCalls() error {
	if c.appCalls && c.scope == nil {
		return nil
	}
	return c.denial(DimensionAppCalls, "")
}

func (c *Caller) denial(dimension Dimension, rule string) *Denial {
	return &Denial{Caller: c.name, Token: c.scope != nil, Dimension: dimension, Rule: rule}
}

// CheckPath judges the method on the path in all its readings. It returns nil,
// a [*Denial], or an error that wraps [ErrAmbiguous].
func (c *Caller) CheckPath(method string, readings []string) error {
	if len(readings) == 0 {
		return fmt.Errorf("%w: it has no reading", ErrAmbiguous)
	}
	if c.issuer != nil {
		if err := c.issuer.CheckPath(method, readings); err != nil {
			return err
		}
	}
	if c.anyRequest && len(c.deny) == 0 {
		return nil
	}
	// A server that does not compare methods exactly reads delete as DELETE.
	upper := strings.ToUpper(method)
	var first verdict
	for i, reading := range readings {
		v := c.judge(method, reading)
		if i == 0 {
			first = v
		}
		if v.ambiguous || v.refused() != first.refused() {
			return ErrAmbiguous
		}
		if upper != method && c.judge(upper, reading).refused() != v.refused() {
			return ErrAmbiguous
		}
	}
	if !first.refused() {
		return nil
	}
	return c.denial(first.dimension, first.rule)
}

// verdict on one reading of a path. The zero value is permission.
type verdict struct {
	dimension Dimension
	rule      string
	// ambiguous is set for a path that would get another verdict in another
	// case, or without the slash, a dot or the extension at its end.
	ambiguous bool
}

func (v verdict) refused() bool { return v.dimension != "" }

func (c *Caller) judge(method, path string) verdict {
	if v := c.judgeDeny(method, path); v.refused() {
		return v
	}
	if c.anyRequest {
		return verdict{}
	}
	return c.judgeAllow(method, path)
}

func (c *Caller) judgeDeny(method, path string) verdict {
	if len(c.deny) == 0 {
		return verdict{}
	}
	var spellings spellings
	spellings.spell(path)
	if spellings.tooMany {
		return verdict{dimension: DimensionPath, ambiguous: true}
	}
	for _, rule := range c.deny {
		if !rule.hasMethod(method) || !spellings.match(rule.path) {
			continue
		}
		v := verdict{dimension: DimensionPath, rule: rule.String()}
		if !rule.everything {
			v.dimension = DimensionMethod
		}
		return v
	}
	return verdict{}
}

// allows reports whether an allow rule matches.
func (c *Caller) allows(method, path string) bool {
	for _, rule := range c.allow {
		if rule.hasMethod(method) && rule.path.Match(path) {
			return true
		}
	}
	return false
}

func (c *Caller) judgeAllow(method, path string) verdict {
	refused := verdict{dimension: DimensionPath}
	if c.allows(method, path) {
		if c.allowsShorter(method, path) {
			return verdict{}
		}
		refused.ambiguous = true
		return refused
	}
	for _, rule := range c.allow {
		if rule.path.Match(path) {
			refused.dimension = DimensionMethod
		}
	}
	folded := fold(path)
	for _, rule := range c.allow {
		if rule.hasMethod(method) && rule.path.matchFolded(folded) {
			refused.ambiguous = true
		}
	}
	return refused
}

// allowsShorter reports whether what routers make of an allowed path is allowed
// as well. Most of them do not regard a slash at the end, so that /a/* must not
// let /a/ through to /a; for dots and extensions see [spellings].
func (c *Caller) allowsShorter(method, path string) bool {
	trimmed := strings.TrimRight(path, "/")
	if trimmed == "" {
		return true
	}
	if trimmed != path && !c.allows(method, trimmed) {
		return false
	}
	if strings.IndexByte(path, '.') < 0 {
		return true
	}
	if dotless := strings.TrimRight(trimDots(trimmed), "/"); dotless != trimmed && !c.allows(method, cmp.Or(dotless, "/")) {
		return false
	}
	if c.allowsExtension(method, trimmed) {
		return true
	}
	return strings.Count(trimmed[lastSegment(trimmed):], ".") <= maxDots &&
		!matchCut(trimmed, func(cut string) bool { return !c.allows(method, cut) })
}

// allowsExtension reports whether a rule allows the path that has a dot in its
// last segment itself. Who writes `GET /cms/*.json` means the extension, and
// knows what it is an extension of.
func (c *Caller) allowsExtension(method, path string) bool {
	for _, rule := range c.allow {
		pattern := rule.path.pattern
		if strings.IndexByte(pattern[lastSegment(pattern):], '.') >= 0 && rule.hasMethod(method) && rule.path.Match(path) {
			return true
		}
	}
	return false
}
