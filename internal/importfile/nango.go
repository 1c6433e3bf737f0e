package importfile

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// nangoConnection is what is read of one of Nango's connection objects, as its
// API gives them (GET /connections/{connectionId}); they have much more. raw is
// what HubSpot answered when the token was issued.
type nangoConnection struct {
	ConnectionID string `json:"connection_id"`
	Provider     string `json:"provider"`
	Credentials  struct {
		Type         string  `json:"type"`
		RefreshToken string  `json:"refresh_token"`
		AccessToken  string  `json:"access_token"`
		ExpiresAt    *string `json:"expires_at"`
		APIKey       string  `json:"apiKey"`
		Raw          struct {
			HubID  json.Number `json:"hub_id"`
			Scopes []string    `json:"scopes"`
		} `json:"raw"`
	} `json:"credentials"`
}

// newNango reads Nango's connection objects, one a line or as one array.
func newNango(in *bufio.Reader) (func() (Item, error), error) {
	elements := &elements{in: in, line: 1}
	begin, err := elements.peek()
	switch {
	case errors.Is(err, io.EOF):
		return func() (Item, error) { return Item{}, io.EOF }, nil
	case err != nil:
		return nil, err
	case begin != '[':
		lines := newLines(in)
		lines.number = elements.line - 1
		return eachLine(lines, parseNango), nil
	}
	_, _ = in.Discard(1)
	return elements.next, nil
}

func parseNango(data []byte) (Record, error) {
	if !utf8.Valid(data) {
		return Record{}, wrong("", "is not UTF-8")
	}
	var c nangoConnection
	if err := json.Unmarshal(data, &c); err != nil {
		if odd, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return Record{}, wrong(odd.Field, "is not what Nango has there")
		}
		return Record{}, wrong("", "is not valid JSON")
	}
	if c.Provider != "" && !strings.HasPrefix(c.Provider, "hubspot") {
		return Record{}, wrong("provider", "is not hubspot")
	}
	var r Record
	for _, field := range []struct{ ours, theirs, value string }{
		{FieldUser, "connection_id", c.ConnectionID},
		{FieldRefreshToken, "credentials.refresh_token", c.Credentials.RefreshToken},
		{FieldAccessToken, "credentials.access_token", c.Credentials.AccessToken},
		{FieldToken, "credentials.apiKey", c.Credentials.APIKey},
		{FieldHubID, "credentials.raw.hub_id", c.Credentials.Raw.HubID.String()},
	} {
		if err := r.set(field.ours, field.value); err != nil {
			return Record{}, renamed(err, field.theirs)
		}
	}
	if at := c.Credentials.ExpiresAt; at != nil && r.Token.IsZero() {
		expires, err := time.Parse(time.RFC3339, *at)
		if err != nil {
			return Record{}, wrong("credentials.expires_at", "is not a time")
		}
		r.ExpiresAt = expires
	}
	if err := r.setScopes(c.Credentials.Raw.Scopes); err != nil {
		return Record{}, renamed(err, "credentials.raw.scopes")
	}
	return r, renamed(r.check(), "")
}

// nangoNames are the places of fields that may be missing.
var nangoNames = map[string]string{
	FieldUser: "connection_id", FieldRefreshToken: "credentials.refresh_token", FieldToken: "credentials.apiKey",
}

// renamed has an error name the field as Nango does.
func renamed(err error, name string) error {
	odd, ok := errors.AsType[*FieldError](err)
	if !ok {
		return err
	}
	if name == "" {
		name = nangoNames[odd.Field]
	}
	return &FieldError{name, odd.Err}
}

// elements reads the elements of a JSON array one by one, each of a bounded
// length. Its beginning has been read.
type elements struct {
	in *bufio.Reader
	// line is where the next byte is, from 1.
	line int
	// read counts elements.
	read int
	done bool
}

var errArray = errors.New("the file is not a JSON array: what comes now cannot be read")

// peek returns the next byte that is no white space, which stays where it is.
func (e *elements) peek() (byte, error) {
	for {
		b, err := e.in.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case b == '\n':
			e.line++
		case b != ' ' && b != '\t' && b != '\r':
			return b, e.in.UnreadByte()
		}
	}
}

// next returns the next element.
func (e *elements) next() (Item, error) {
	if e.done {
		return Item{}, e.end()
	}
	b, err := e.peek()
	if err == nil && e.read > 0 && b == ',' {
		_, _ = e.in.Discard(1)
		b, err = e.peek()
		if err == nil && b == ']' {
			return Item{}, errArray
		}
	} else if err == nil && e.read > 0 && b != ']' {
		return Item{}, errArray
	}
	switch {
	case errors.Is(err, io.EOF):
		return Item{}, io.ErrUnexpectedEOF
	case err != nil:
		return Item{}, err
	case b == ']':
		_, _ = e.in.Discard(1)
		e.done = true
		return Item{}, e.end()
	case b != '{':
		return Item{}, errArray
	}
	e.read++
	item := Item{Line: e.line}
	object, tooLong, err := e.object()
	switch {
	case err != nil:
		return Item{}, err
	case tooLong:
		item.Err = &FieldError{Err: errLong}
	default:
		item.Record, item.Err = parseNango(object)
	}
	return item, nil
}

// end refuses what follows the array.
func (e *elements) end() error {
	_, err := e.peek()
	if err == nil {
		return errors.New("there is something behind the end of the array")
	}
	return err
}

// object returns the bytes of an object, whatever is in it: where it ends is a
// matter of braces and quotes.
func (e *elements) object() (object []byte, tooLong bool, err error) {
	depth, quoted, escaped := 0, false, false
	for {
		b, err := e.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil, false, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, false, err
		}
		if len(object) < maxLine {
			object = append(object, b)
		} else {
			tooLong = true
		}
		switch {
		case b == '\n':
			e.line++
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = b == '\\', b != '"'
		case b == '"':
			quoted = true
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			if depth--; depth == 0 {
				return object, tooLong, nil
			}
		}
	}
}
