// Package strictbody reads the bodies of the sidecar's own requests: a JSON
// object or a form with a handful of fields. It is strict, because a field
// that is misspelt or there twice may be a restriction that would be lost.
package strictbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// ErrTooLarge means that a body is larger than its limit.
var ErrTooLarge = errors.New("the body is too large")

// BrokenError means that a body could not be read to its end. It wraps the
// reason, which is not for the caller.
type BrokenError struct{ Err error }

// Error returns the text of the reason.
func (e *BrokenError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *BrokenError) Unwrap() error { return e.Err }

// Options say what [Read] takes.
type Options struct {
	// What names the body in errors, such as "the body".
	What string
	// Limit is the largest body in bytes. Required.
	Limit int64
	// JSONOnly refuses forms: a web page can send those to another site
	// unasked.
	JSONOnly bool
}

// Field is one field of a body.
type Field struct {
	Name string
	// JSON is the value as it stands in a JSON body; nil in a form.
	JSON json.RawMessage
	// Form are the values in a form, at least one; nil in JSON.
	Form []string
}

// Read reads the body of r and returns its fields, sorted by name for a form
// and in their order for JSON. Its errors are meant for the caller, but for a
// [*BrokenError]; one for a body that is too large wraps [ErrTooLarge].
func Read(r *http.Request, o Options) ([]Field, error) {
	data, err := readAll(r, o.Limit)
	switch {
	case err != nil:
		return nil, &BrokenError{err}
	case int64(len(data)) > o.Limit:
		return nil, fmt.Errorf("%s is larger than %s%w", o.What, sizeText(o.Limit), silent{ErrTooLarge})
	case r.Header.Get("Content-Encoding") != "":
		return nil, fmt.Errorf("%s cannot have a Content-Encoding", o.What)
	}
	return Parse(r.Header.Get("Content-Type"), data, o)
}

// maxFields is how many fields a body may have, so that what is made of them
// is not much larger than the body.
const maxFields = 1000

// maxAnnounced is how much memory is made ready for what a client announces.
const maxAnnounced = 64 << 10

// readAll reads one byte more than the limit at the most.
func readAll(r *http.Request, limit int64) ([]byte, error) {
	var out bytes.Buffer
	if r.ContentLength > 0 {
		out.Grow(int(min(r.ContentLength, limit, maxAnnounced)) + bytes.MinRead)
	}
	_, err := out.ReadFrom(io.LimitReader(r.Body, limit+1))
	return out.Bytes(), err
}

// silent is an error that can be found and adds nothing to a text.
type silent struct{ err error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.err }

func sizeText(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// Parse is [Read] for a body that is in memory.
func Parse(contentType string, data []byte, o Options) ([]Field, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = ""
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s is not UTF-8", o.What)
	}
	switch {
	case IsJSON(mediaType):
		fields, err := Object(data)
		if err != nil {
			return nil, fmt.Errorf("%s %w", o.What, err)
		}
		return fields, nil
	case o.JSONOnly:
		return nil, errors.New("the Content-Type must be application/json")
	case mediaType == "application/x-www-form-urlencoded":
		return parseForm(string(data))
	}
	return nil, fmt.Errorf("%s is application/json or application/x-www-form-urlencoded; say which in Content-Type", o.What)
}

// IsJSON reports whether a media type, in lower case and without parameters,
// is one of JSON.
func IsJSON(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" ||
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}

func parseForm(data string) ([]Field, error) {
	if strings.Count(data, "&") >= maxFields {
		return nil, fmt.Errorf("the form has more than %d fields", maxFields)
	}
	values, err := url.ParseQuery(data)
	if err != nil {
		return nil, errors.New("the form is not well-formed: every name and value has to be percent-encoded")
	}
	fields := make([]Field, 0, len(values))
	for name, all := range values {
		fields = append(fields, Field{Name: name, Form: all})
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, nil
}

// Object reads a JSON object whose names are all different. Its errors go on
// from the name of the thing that is read.
func Object(data []byte) ([]Field, error) {
	if !json.Valid(data) {
		return nil, errors.New("is not valid JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("has to be a JSON object")
	}
	var fields []Field
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		if len(fields) == maxFields {
			return nil, fmt.Errorf("has more than %d fields", maxFields)
		}
		var f Field
		if err == nil {
			err = decoder.Decode(&f.JSON)
		}
		if err != nil || !ok {
			return nil, errors.New("is not valid JSON")
		}
		if seen[name] {
			return nil, fmt.Errorf("has %s twice", apierror.Quoted(name))
		}
		seen[name] = true
		f.Name = name
		fields = append(fields, f)
	}
	return fields, nil
}

// Text returns the value of a field that has to be one text.
func (f Field) Text() (string, error) {
	switch {
	case f.JSON == nil && len(f.Form) == 1:
		return f.Form[0], nil
	case f.JSON == nil:
		return "", fmt.Errorf("the field %s is there %d times", apierror.Quoted(f.Name), len(f.Form))
	}
	var text string
	if f.JSON[0] != '"' || json.Unmarshal(f.JSON, &text) != nil {
		return "", fmt.Errorf("the field %s has to be a text", f.Name)
	}
	return text, nil
}

// Texts returns the values of a field that may be there more than once in a
// form, or is a list of texts in JSON; ok is false for anything else.
func (f Field) Texts() (texts []string, ok bool) {
	if f.JSON == nil {
		return f.Form, true
	}
	return texts, f.JSON[0] == '[' && json.Unmarshal(f.JSON, &texts) == nil
}
