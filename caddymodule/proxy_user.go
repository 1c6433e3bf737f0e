package caddymodule

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
)

// defaultUser is the setting user if there is none.
const defaultUser = "{http.request.header.X-HubSpot-User}"

// maxUser is the longest user identifier, in bytes.
const maxUser = 1024

// userSource is the setting user, taken apart.
type userSource struct {
	// header is the canonical name of the header that the setting names,
	// if it is one placeholder for a header; that header is for the
	// sidecar only.
	header string
	// template has placeholders that are replaced for each request.
	template string
	// constant is the user of an install with one customer.
	constant string
}

// newUserSource takes a setting apart.
func newUserSource(setting string) (userSource, error) {
	if setting == "" {
		setting = defaultUser
	}
	if name, ok := headerPlaceholder(setting); ok {
		return userSource{header: http.CanonicalHeaderKey(name)}, nil
	}
	if strings.Contains(setting, "{") {
		return userSource{template: setting}, nil
	}
	return userSource{constant: setting}, checkUser(setting)
}

// headerPlaceholder returns the name of the header that a setting stands
// for, if it is nothing but the placeholder of one.
func headerPlaceholder(setting string) (name string, ok bool) {
	name, ok = strings.CutPrefix(setting, "{http.request.header.")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return name, ok && name != "" && !strings.ContainsAny(name, "{}")
}

var errTwoUsers = errors.New("the request names different users; send the header once")

// find returns the user that the setting gives for a request, empty if it
// gives none. A header is taken as it is: what a client sent is never
// searched for placeholders.
func (s userSource) find(r *http.Request) (string, error) {
	switch {
	case s.constant != "":
		return s.constant, nil
	case s.header != "":
		values := r.Header[s.header]
		if len(values) == 0 {
			return "", nil
		}
		for _, value := range values[1:] {
			if value != values[0] {
				return "", errTwoUsers
			}
		}
		return values[0], nil
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	user, err := repl.ReplaceOrErr(s.template, true, true)
	if err != nil {
		// A placeholder without a value is a request without a user.
		return "", nil
	}
	return user, nil
}

// checkUser refuses identifiers that stores and logs cannot tell apart.
func checkUser(user string) error {
	switch {
	case len(user) > maxUser:
		return errors.New("the user identifier is longer than 1024 bytes")
	case !utf8.ValidString(user):
		return errors.New("the user identifier is not UTF-8; where a header cannot carry it, use the path prefix /as/{user}/, percent-encoded")
	case strings.ContainsFunc(user, unicode.IsControl):
		return errors.New("the user identifier holds a control character")
	}
	return nil
}
