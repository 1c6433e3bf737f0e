package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// maxTokenRequest is the largest body of a request for a user token, in
// bytes: four times what fits into a token.
const maxTokenRequest = 16 << 10

// The fields of a request for a user token, beside fieldUser.
const (
	fieldExpiresIn = "expiresIn"
	fieldAllow     = "allow"
	fieldDeny      = "deny"
)

// Errors of a request for a user token.
var (
	errTokenRequestSize = fmt.Errorf("the body is larger than %d KiB", maxTokenRequest>>10)
	errNoTokenUser      = errors.New("the field userForeignIdentifier is missing: it says for which user the token is")
)

// tokenRequest is what a user token is to be for.
type tokenRequest struct {
	user        string
	lifetime    time.Duration
	allow, deny []access.Rule
}

// readTokenRequest reads the body of r. Errors are meant for the caller.
func readTokenRequest(r *http.Request) (tokenRequest, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxTokenRequest+1))
	switch {
	case err != nil:
		return tokenRequest{}, errors.New("the body of the request broke off")
	case len(data) > maxTokenRequest:
		return tokenRequest{}, errTokenRequestSize
	case r.Header.Get("Content-Encoding") != "":
		return tokenRequest{}, errors.New("the body cannot have a Content-Encoding")
	}
	return parseTokenRequest(r.Header.Get("Content-Type"), data)
}

// parseTokenRequest reads a request strictly: an unknown field may be a
// restriction, misspelt.
func parseTokenRequest(contentType string, data []byte) (tokenRequest, error) {
	if !utf8.Valid(data) {
		return tokenRequest{}, errors.New("the body is not UTF-8")
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = ""
	}
	q := tokenRequest{lifetime: usertoken.MaxLifetime}
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		err = q.readForm(string(data))
	case isJSONType(mediaType):
		err = q.readJSON(data)
	default:
		err = errors.New("the body is application/json or application/x-www-form-urlencoded; say which in Content-Type")
	}
	switch {
	case err != nil:
		return tokenRequest{}, err
	case q.user == "":
		return tokenRequest{}, errNoTokenUser
	}
	scope := access.Scope{Allow: q.allow, Deny: q.deny}
	return q, scope.CheckRules()
}

func (q *tokenRequest) readForm(data string) error {
	values, err := url.ParseQuery(data)
	if err != nil {
		return errors.New("the form is not well-formed: every name and value has to be percent-encoded")
	}
	for name, all := range values {
		switch name {
		case fieldAllow, fieldDeny:
			err = q.setRules(name, all)
		case fieldUser, fieldExpiresIn:
			err = q.setText(name, all)
		default:
			err = unknownTokenField(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *tokenRequest) setText(name string, all []string) error {
	if len(all) > 1 {
		return fmt.Errorf("the field %s is there %d times", name, len(all))
	}
	if name == fieldUser {
		q.user = all[0]
		return nil
	}
	return q.setLifetime(all[0])
}

func (q *tokenRequest) readJSON(data []byte) error {
	members, err := jsonObject(data)
	if err != nil {
		return fmt.Errorf("the body %w", err)
	}
	for _, m := range members {
		switch m.name {
		case fieldUser:
			err = m.text(&q.user)
		case fieldExpiresIn:
			err = q.setLifetime(string(m.value))
		case fieldAllow, fieldDeny:
			err = q.setRuleList(m)
		default:
			err = unknownTokenField(m.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setLifetime takes whole seconds. More than the longest life is refused, so
// that nobody counts on it.
func (q *tokenRequest) setLifetime(text string) error {
	const longest = int(usertoken.MaxLifetime / time.Second)
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 1 || seconds > longest {
		return fmt.Errorf("the field expiresIn has to be a whole number of seconds from 1 to %d", longest)
	}
	q.lifetime = time.Duration(seconds) * time.Second
	return nil
}

func (q *tokenRequest) setRuleList(m member) error {
	var texts []string
	if m.value[0] != '[' || json.Unmarshal(m.value, &texts) != nil {
		return fmt.Errorf(`the field %s has to be a list of rules, as in ["GET,POST /crm/*"]`, m.name)
	}
	if len(texts) == 0 && m.name == fieldAllow {
		return errors.New("the field allow is empty; leave it out for all that the caller itself may do")
	}
	return q.setRules(m.name, texts)
}

func (q *tokenRequest) setRules(name string, texts []string) error {
	rules := make([]access.Rule, 0, len(texts))
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			return fmt.Errorf("the field %s: rule %s: %w", name, quoted(text), err)
		}
		rules = append(rules, rule)
	}
	if name == fieldAllow {
		q.allow = rules
	} else {
		q.deny = rules
	}
	return nil
}

func unknownTokenField(name string) error {
	return fmt.Errorf("there is no field %s; there are userForeignIdentifier, expiresIn, allow and deny", quoted(name))
}

// tokenRequestError maps an error of readTokenRequest to an answer.
func tokenRequestError(err error) *apierror.Error {
	if errors.Is(err, errNoTokenUser) {
		return apierror.Wrap(apierror.UserRequired, sentence(err), err)
	}
	e := badRequest(err)
	if errors.Is(err, errTokenRequestSize) {
		e.Status = http.StatusRequestEntityTooLarge
	}
	return e
}
