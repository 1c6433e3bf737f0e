package callerapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// maxTokenRequest is the largest body of a request for a user token, in
// bytes: four times what fits into a token.
const maxTokenRequest = 16 << 10

// The fields of a request for a user token.
const (
	fieldUser      = "userForeignIdentifier"
	fieldExpiresIn = "expiresIn"
	fieldAllow     = "allow"
	fieldDeny      = "deny"
)

var errNoTokenUser = errors.New("the field userForeignIdentifier is missing: it says for which user the token is")

// tokenRequest is what a user token is to be for.
type tokenRequest struct {
	user        string
	lifetime    time.Duration
	allow, deny []access.Rule
}

var tokenBody = strictbody.Options{What: "the body", Limit: maxTokenRequest}

// readTokenRequest reads the body of r. Errors are meant for the caller.
func readTokenRequest(r *http.Request) (tokenRequest, error) {
	fields, err := strictbody.Read(r, tokenBody)
	if _, broken := errors.AsType[*strictbody.BrokenError](err); broken {
		return tokenRequest{}, errors.New("the body of the request broke off")
	}
	if err != nil {
		return tokenRequest{}, err
	}
	return parseTokenRequest(fields)
}

// parseTokenRequest reads a request strictly: an unknown field may be a
// restriction, misspelt.
func parseTokenRequest(fields []strictbody.Field) (tokenRequest, error) {
	t := tokenRequest{lifetime: usertoken.MaxLifetime}
	for _, f := range fields {
		var err error
		switch f.Name {
		case fieldUser:
			t.user, err = f.Text()
		case fieldExpiresIn:
			t.lifetime, err = lifetimeOf(f)
		case fieldAllow:
			t.allow, err = rulesOf(f)
		case fieldDeny:
			t.deny, err = rulesOf(f)
		default:
			err = fmt.Errorf("there is no field %s; there are userForeignIdentifier, expiresIn, allow and deny", apierror.Quoted(f.Name))
		}
		if err != nil {
			return tokenRequest{}, err
		}
	}
	if t.user == "" {
		return tokenRequest{}, errNoTokenUser
	}
	scope := access.Scope{Allow: t.allow, Deny: t.deny}
	return t, scope.CheckRules()
}

// lifetimeOf reads whole seconds. More than the longest life is refused, so
// that nobody counts on it.
func lifetimeOf(f strictbody.Field) (time.Duration, error) {
	text := string(f.JSON)
	if f.JSON == nil {
		var err error
		if text, err = f.Text(); err != nil {
			return 0, err
		}
	}
	const longest = int(usertoken.MaxLifetime / time.Second)
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 1 || seconds > longest {
		return 0, fmt.Errorf("the field expiresIn has to be a whole number of seconds from 1 to %d", longest)
	}
	return time.Duration(seconds) * time.Second, nil
}

func rulesOf(f strictbody.Field) ([]access.Rule, error) {
	texts, ok := f.Texts()
	switch {
	case !ok:
		return nil, fmt.Errorf(`the field %s has to be a list of rules, as in ["GET,POST /crm/*"]`, f.Name)
	case len(texts) == 0 && f.Name == fieldAllow:
		return nil, errors.New("the field allow is empty; leave it out for all that the caller itself may do")
	}
	rules := make([]access.Rule, 0, len(texts))
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			return nil, fmt.Errorf("the field %s: rule %s: %w", f.Name, apierror.Quoted(text), err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// tokenRequestError maps an error of readTokenRequest to an answer.
func tokenRequestError(err error) error {
	if errors.Is(err, errNoTokenUser) {
		return apierror.Wrap(apierror.UserRequired, apierror.Sentence(err), err)
	}
	e := apierror.Bad(err)
	if errors.Is(err, strictbody.ErrTooLarge) {
		e.Status = http.StatusRequestEntityTooLarge
	}
	return e
}
