// Package importfile reads files of connections that were made elsewhere: JSON
// lines, CSV, and what Nango exports. A line is judged by itself, so that a
// broken one is no more than that, and a file of any length is read in little
// memory. No error repeats a value.
package importfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Names of the fields of a record, in JSON and as the header of a CSV file.
const (
	FieldUser         = "userForeignIdentifier"
	FieldRefreshToken = "refreshToken"
	FieldAccessToken  = "accessToken"
	FieldExpiresAt    = "expiresAt"
	FieldHubID        = "hubId"
	FieldScopes       = "scopes"
	FieldToken        = "token"
)

// fieldNames are all fields, in the order of the documentation.
var fieldNames = []string{FieldUser, FieldRefreshToken, FieldAccessToken, FieldExpiresAt, FieldHubID, FieldScopes, FieldToken}

// Record is a connection that was made elsewhere. One of RefreshToken and
// Token is set; all else but User is optional.
type Record struct {
	// User is the vendor's own identifier of its customer.
	User string
	// RefreshToken is that of an OAuth grant.
	RefreshToken secret.Text
	// AccessToken is one of that grant, and ExpiresAt the end of its life.
	AccessToken secret.Text
	ExpiresAt   time.Time
	// HubID is the portal (HubSpot account) that the connection should be of.
	HubID int64
	// Scopes are those that the grant should have.
	Scopes []string
	// Token is the token of a static app.
	Token secret.Text
}

// FieldError says which field of a record is wrong. Its text holds no value.
type FieldError struct {
	// Field is empty where the record as a whole is wrong.
	Field string
	Err   error
}

// Error names the field and what is wrong with it.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// ParseJSON reads a record from a JSON object, strictly: a field that is
// misspelt or there twice is an error, as is anything behind the object. Where
// a field is null it is not there. Errors are a [*FieldError].
func ParseJSON(data []byte) (Record, error) {
	if !utf8.Valid(data) {
		return Record{}, wrong("", "is not UTF-8")
	}
	fields, err := strictbody.Object(data)
	if err != nil {
		return Record{}, &FieldError{Err: err}
	}
	var r Record
	for _, field := range fields {
		if bytes.Equal(field.JSON, []byte("null")) && slices.Contains(fieldNames, field.Name) {
			continue
		}
		if err := r.setJSON(field); err != nil {
			return Record{}, err
		}
	}
	return r, r.check()
}

func (r *Record) setJSON(field strictbody.Field) error {
	switch field.Name {
	case FieldHubID:
		return r.set(FieldHubID, string(field.JSON))
	case FieldScopes:
		scopes, ok := field.Texts()
		if !ok {
			return wrong(FieldScopes, "has to be a list of texts")
		}
		return r.setScopes(scopes)
	}
	if !slices.Contains(fieldNames, field.Name) {
		return unknownField(field.Name)
	}
	text, err := field.Text()
	if err != nil {
		return wrong(field.Name, "has to be a text")
	}
	return r.set(field.Name, text)
}

func unknownField(name string) error {
	return wrong("", "has the unknown field %s; there are %s", apierror.Quoted(name), strings.Join(fieldNames, ", "))
}

// set sets a field from its text. An empty one is not there.
func (r *Record) set(name, text string) (err error) {
	if text == "" {
		return nil
	}
	switch name {
	case FieldUser:
		r.User = text
	case FieldRefreshToken:
		r.RefreshToken, err = token(name, text)
	case FieldAccessToken:
		r.AccessToken, err = token(name, text)
	case FieldToken:
		r.Token, err = token(name, text)
	case FieldExpiresAt:
		if r.ExpiresAt, err = time.Parse(time.RFC3339, text); err != nil {
			return wrong(name, "is not a time such as 2026-11-28T09:30:00Z")
		}
	case FieldHubID:
		if r.HubID, err = strconv.ParseInt(text, 10, 64); err != nil || r.HubID < 1 {
			return wrong(name, "is not the number of a HubSpot account")
		}
	case FieldScopes:
		return r.setScopes(strings.Fields(text))
	}
	return err
}

func token(name, text string) (secret.Text, error) {
	if !hubspot.UsableToken(text) {
		return secret.Text{}, wrong(name, "holds what no token of HubSpot's does: a space, a control or a non-ASCII character, or more than 8 KiB")
	}
	return secret.New(text), nil
}

func (r *Record) setScopes(scopes []string) error {
	for _, scope := range scopes {
		if !hubspot.UsableToken(scope) {
			return wrong(FieldScopes, "holds what no scope does: a space, a control or a non-ASCII character, or nothing")
		}
	}
	r.Scopes = scopes
	return nil
}

// check checks a record as a whole.
func (r *Record) check() error {
	if r.User == "" {
		return wrong(FieldUser, "is missing")
	}
	if err := userid.Check(r.User); err != nil {
		return &FieldError{FieldUser, err}
	}
	if strings.ContainsRune(r.User, utf8.RuneError) {
		// It stands for what could not be read: another user, perhaps.
		return wrong(FieldUser, "holds U+FFFD, which stands for text that was damaged")
	}
	switch {
	case r.RefreshToken.IsZero() && r.Token.IsZero():
		return wrong(FieldRefreshToken, "is missing (or, for a static app, token)")
	case !r.Token.IsZero() && (!r.RefreshToken.IsZero() || !r.AccessToken.IsZero() || !r.ExpiresAt.IsZero()):
		return wrong(FieldToken, "is given beside the tokens of an OAuth grant; a connection has one or the other")
	}
	return nil
}

// MarshalJSON returns the record as ParseJSON reads it, tokens in clear.
func (r Record) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		User         string    `json:"userForeignIdentifier"`
		RefreshToken string    `json:"refreshToken,omitempty"`
		AccessToken  string    `json:"accessToken,omitempty"`
		ExpiresAt    time.Time `json:"expiresAt,omitzero"`
		HubID        int64     `json:"hubId,omitempty"`
		Scopes       []string  `json:"scopes,omitempty"`
		Token        string    `json:"token,omitempty"`
	}{
		r.User, r.RefreshToken.Reveal(), r.AccessToken.Reveal(), r.ExpiresAt, r.HubID, r.Scopes, r.Token.Reveal(),
	})
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

var errLong = errors.New("is longer than 1 MiB")
