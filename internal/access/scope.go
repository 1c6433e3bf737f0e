package access

import (
	"net/http"
	"strings"
)

// UserTokenPrefix begins every user token, so that one is told from a key by
// its text. No key may begin with it.
const UserTokenPrefix = "hsut_"

// UserToken returns the user token that a request has as its bearer (RFC
// 6750). ok is false for a request that has none; [Registry.Authenticate]
// says what that one is.
func UserToken(header http.Header) (token string, ok bool) {
	values := header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, credentials, _ := strings.Cut(values[0], " ")
	credentials = strings.Trim(credentials, " ")
	if !strings.HasPrefix(credentials, UserTokenPrefix) || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return credentials, true
}

// Scope is what a user token leaves of the policy of the caller who issued
// it. The zero value leaves nothing.
type Scope struct {
	// TokenID names the token in logs. It is no secret.
	TokenID string
	// App is the only app. It compares without regard to case.
	App string
	// User is the only user, to the letter: an asterisk in it is one.
	User string
	// Allow are the only requests to HubSpot. Empty means all that the
	// issuer may make.
	Allow []Rule
	// Deny are requests that may not be made, whatever Allow says.
	Deny []Rule
}

// Narrowed reports whether the scope leaves some requests to HubSpot only.
func (s *Scope) Narrowed() bool { return len(s.Allow) > 0 || len(s.Deny) > 0 }

// CheckRules refuses rules that a caller could not have either. Its errors
// name the setting.
func (s *Scope) CheckRules() error {
	if err := checkRules("allow", s.Allow); err != nil {
		return err
	}
	return checkRules("deny", s.Deny)
}

// Narrow returns the caller that a user token of c stands for. It may do what
// both c and the scope permit, and bears the name of c.
func (c *Caller) Narrow(s Scope) *Caller {
	return &Caller{
		name:       c.name,
		share:      c.share,
		apps:       []Glob{literal(s.App)},
		users:      []Glob{literal(s.User)},
		allow:      s.Allow,
		deny:       s.Deny,
		anyRequest: len(s.Allow) == 0,
		issuer:     c,
		scope:      &s,
	}
}

// Scope returns what the user token of a request is for; nil for a caller
// that has shown something of its own, such as a key. It must not be changed.
func (c *Caller) Scope() *Scope { return c.scope }

// literal returns the glob that matches text only.
func literal(text string) Glob {
	return Glob{pattern: text, exact: parts{prefix: text}, folded: parts{prefix: fold(text)}}
}
