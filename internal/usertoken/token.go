// Package usertoken seals what a caller lets somebody do for one user, for an
// hour at the most, into a text that is sent like a caller's key. Any process
// that knows the app's client secret can open what another sealed, and nobody
// else can read or make one.
//
// A token says who issued it and narrows what that caller may do; it grants
// nothing by itself. What the issuer may do is looked up when the token is
// used: see [access.Caller.Narrow].
package usertoken

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
)

// MaxLifetime is the longest that a token lives.
const MaxLifetime = time.Hour

// maxSkew is how far ahead the clock of the process that sealed a token may be.
const maxSkew = time.Minute

// Errors of [Sealer.Open]. None says anything about the token's content.
var (
	// ErrMalformed means that the text is not a token that this app's
	// secrets sealed: garbage, altered, cut, another app's, or from the
	// future.
	ErrMalformed = errors.New("the user token is not valid")
	// ErrExpired means that the token was one.
	ErrExpired = errors.New("the user token has expired")
)

// ErrTooLong means that user and rules do not fit into a token.
var ErrTooLong = errors.New("user and rules are too long for a token")

// Token is what a token says. The zero value is none and cannot be sealed. It
// cannot print itself, because it holds the user's identifier.
type Token struct {
	// ID is random and unique to this token, of ASCII letters, digits, - and
	// _. It is no secret: logs name the token by it.
	ID string
	// Caller is the name of the caller who issued it.
	Caller string
	// App is the app's name in lower case. It may be left empty for
	// [Sealer.Seal]; it is always set by [Sealer.Open].
	App string
	// User is the vendor's identifier of the user.
	User string
	// Allow and Deny are as in [access.Scope].
	Allow []access.Rule
	Deny  []access.Rule
	// IssuedAt and ExpiresAt bound its life, at most [MaxLifetime]. They are
	// kept to the millisecond.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Scope returns what the token leaves of its issuer's policy.
func (t Token) Scope() access.Scope {
	return access.Scope{TokenID: t.ID, App: t.App, User: t.User, Allow: t.Allow, Deny: t.Deny}
}

const redacted = "[user token]"

// Format writes a fixed text for every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes a fixed text.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue gives log/slog a fixed text.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// check refuses a token that could not be used after opening. Its errors name
// the field, and never hold the user.
func (t Token) check() error {
	switch {
	case t.Caller == "":
		return errors.New("caller is empty")
	case t.User == "":
		return errors.New("user is empty")
	// encoding/json would replace broken UTF-8, and one user would become
	// another.
	case !utf8.ValidString(t.User), !utf8.ValidString(t.Caller):
		return errors.New("user and caller must be valid UTF-8")
	case t.ID == "" || strings.ContainsFunc(t.ID, sealing.NotID):
		return errors.New("id must consist of letters, digits, - and _")
	case !t.IssuedAt.Before(t.ExpiresAt) || t.ExpiresAt.Sub(t.IssuedAt) > MaxLifetime:
		return fmt.Errorf("time to live must be more than 0 and at most %s", MaxLifetime)
	}
	scope := t.Scope()
	return scope.CheckRules()
}
