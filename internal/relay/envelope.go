package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// maxEnvelope is the largest envelope in bytes. An envelope is read as a
// whole; what is larger goes in transparent mode, which streams.
const maxEnvelope = 32 << 20

// envelope is a call to HubSpot that came as a form or as JSON.
type envelope struct {
	method string
	target target
	user   string
	header http.Header
	body   []byte
}

// The fields of an envelope.
const (
	fieldMethod  = "method"
	fieldURL     = "url"
	fieldUser    = "userForeignIdentifier"
	fieldBody    = "body"
	fieldHeaders = "headers"
)

// errNoEnvelopeUser is a missing userForeignIdentifier.
var errNoEnvelopeUser = errors.New("the field userForeignIdentifier is missing: it says for which user the call is")

// readEnvelope reads the envelope that r carries. base is the scheme and
// host of HubSpot's API. Errors are meant for the caller; with
// errNoEnvelopeUser there is an envelope, which lacks nothing else.
func readEnvelope(r *http.Request, base string) (*envelope, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxEnvelope+1))
	switch {
	case err != nil:
		return nil, bodyError{err}
	case len(data) > maxEnvelope:
		return nil, fmt.Errorf("the envelope is larger than %d MiB; send the request itself, without an envelope", maxEnvelope>>20)
	case r.Header.Get("Content-Encoding") != "":
		return nil, errors.New("an envelope cannot have a Content-Encoding")
	}
	return parseEnvelope(r.Header.Get("Content-Type"), data, base)
}

// parseEnvelope reads an envelope strictly: an unknown field may be a
// misspelt one, and one that is there twice is read in different ways.
func parseEnvelope(contentType string, data []byte, base string) (*envelope, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = ""
	}
	if !utf8.Valid(data) {
		return nil, errors.New("the envelope is not UTF-8")
	}
	var fields envelopeFields
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		err = fields.readForm(string(data))
	case isJSONType(mediaType):
		err = fields.readJSON(data)
	default:
		err = errors.New("an envelope is application/json or application/x-www-form-urlencoded; say which in Content-Type")
	}
	if err != nil {
		return nil, err
	}
	return fields.envelope(base)
}

// isJSONType reports whether a media type, in lower case and without
// parameters, is one of JSON.
func isJSONType(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" ||
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}

// envelopeFields are the fields of an envelope. Absent and empty are the
// same for texts.
type envelopeFields struct {
	method, url, user string
	// body is what is sent. checkBody is set if it came as a text that has
	// to hold JSON.
	body      []byte
	checkBody bool
	headers   json.RawMessage
}

func (f *envelopeFields) readForm(data string) error {
	values, err := url.ParseQuery(data)
	if err != nil {
		return errors.New("the form is not well-formed: every name and value has to be percent-encoded")
	}
	for name, all := range values {
		if len(all) > 1 {
			return fmt.Errorf("the field %s is there %d times", quoted(name), len(all))
		}
		value := all[0]
		switch name {
		case fieldMethod:
			f.method = value
		case fieldURL:
			f.url = value
		case fieldUser:
			f.user = value
		case fieldBody:
			f.body, f.checkBody = []byte(value), true
		case fieldHeaders:
			f.headers = json.RawMessage(value)
		default:
			return unknownField(name)
		}
	}
	return nil
}

func (f *envelopeFields) readJSON(data []byte) error {
	members, err := jsonObject(data)
	if err != nil {
		return fmt.Errorf("the envelope %w", err)
	}
	for _, m := range members {
		switch m.name {
		case fieldMethod:
			err = m.text(&f.method)
		case fieldURL:
			err = m.text(&f.url)
		case fieldUser:
			err = m.text(&f.user)
		case fieldBody:
			f.setBody(m.value)
		case fieldHeaders:
			f.setHeaders(m.value)
		default:
			err = unknownField(m.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setBody takes a value as it stands, and a text as what it holds.
func (f *envelopeFields) setBody(value json.RawMessage) {
	var text string
	switch {
	case string(value) == "null":
	case value[0] == '"' && json.Unmarshal(value, &text) == nil:
		f.body, f.checkBody = []byte(text), true
	default:
		f.body = value
	}
}

// setHeaders takes an object, or a text that holds one.
func (f *envelopeFields) setHeaders(value json.RawMessage) {
	f.headers = value
	var text string
	if value[0] == '"' && json.Unmarshal(value, &text) == nil {
		f.headers = json.RawMessage(text)
	}
}

// envelope checks the fields together. With errNoEnvelopeUser there is an
// envelope, which lacks nothing else.
func (f *envelopeFields) envelope(base string) (*envelope, error) {
	e := &envelope{method: strings.ToUpper(f.method), user: f.user, body: f.body}
	switch {
	case f.method == "":
		return nil, errors.New("the field method is missing: it is GET, POST, PUT, PATCH or DELETE")
	case !httpguts.ValidHeaderFieldName(e.method) || len(e.method) > 32:
		return nil, errors.New("the field method is no HTTP method")
	case f.url == "":
		return nil, errors.New("the field url is missing: it is a path such as /crm/objects/2026-09/contacts")
	}
	var err error
	if e.target, err = parseEnvelopeURL(f.url, base); err != nil {
		return nil, err
	}
	if e.header, err = parseEnvelopeHeaders(f.headers); err != nil {
		return nil, err
	}
	if err = f.finishBody(e); err == nil && f.user == "" {
		err = errNoEnvelopeUser
	}
	return e, err
}

// finishBody checks the body against its type, and gives it one.
func (f *envelopeFields) finishBody(e *envelope) error {
	if len(e.body) == 0 {
		e.body = nil
		return nil
	}
	contentType := e.header.Get("Content-Type")
	if contentType == "" {
		e.header.Set("Content-Type", "application/json")
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if f.checkBody && (contentType == "" || isJSONType(mediaType)) && !json.Valid(e.body) {
		return errors.New("the field body is a text that has to hold JSON; for another body give its Content-Type in headers")
	}
	return nil
}

// parseEnvelopeURL reads the field url: a path, or a URL of the API.
func parseEnvelopeURL(raw, base string) (target, error) {
	rest := raw
	if !strings.HasPrefix(raw, "/") {
		if len(raw) < len(base) || !strings.EqualFold(raw[:len(base)], base) {
			return target{}, fmt.Errorf("the field url has to be a path that starts with / or a URL that starts with %s/", base)
		}
		rest = raw[len(base):]
		if rest == "" || rest[0] == '?' {
			rest = "/" + rest
		}
		if rest[0] != '/' {
			return target{}, fmt.Errorf("the field url has to be a path that starts with / or a URL that starts with %s/", base)
		}
	}
	for i := range len(rest) {
		if c := rest[i]; c <= ' ' || c == 0x7f || c == '#' {
			return target{}, errors.New("the field url holds a space, a control character or a #; percent-encode it")
		}
	}
	var t target
	var hasQuery bool
	t.path, t.query, hasQuery = strings.Cut(rest, "?")
	t.bareQuery = hasQuery && t.query == ""
	return t, t.check()
}

// parseEnvelopeHeaders reads the field headers: an object of texts or lists
// of texts.
func parseEnvelopeHeaders(raw json.RawMessage) (http.Header, error) {
	header := make(http.Header)
	if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" {
		return header, nil
	}
	members, err := jsonObject(raw)
	if err != nil {
		return nil, fmt.Errorf("the field headers %w", err)
	}
	for _, m := range members {
		if !httpguts.ValidHeaderFieldName(m.name) {
			return nil, fmt.Errorf("the field headers has %s, which is no name of a header", quoted(m.name))
		}
		values, ok := m.texts()
		if !ok {
			return nil, fmt.Errorf("the header %s has to be a text or a list of texts without line breaks", m.name)
		}
		if !ignoredInEnvelope(m.name) {
			name := textproto.CanonicalMIMEHeaderKey(m.name)
			header[name] = append(header[name], values...)
		}
	}
	return header, nil
}

// ignoredInEnvelope reports whether a header of an envelope is not sent:
// those of the connection, of the sidecar and of the answer's encoding, which
// has to be opened to put it into an envelope.
func ignoredInEnvelope(name string) bool {
	switch name := textproto.CanonicalMIMEHeaderKey(name); name {
	case "Host", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Content-Length", "Expect", "Accept-Encoding", "Incremental":
		return true
	default:
		return staysHere(name)
	}
}

// member is one member of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// jsonObject reads an object whose names are all different. Its errors go on
// from the name of the thing that is read.
func jsonObject(data []byte) ([]member, error) {
	if !json.Valid(data) {
		return nil, errors.New("is not valid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("has to be a JSON object")
	}
	var members []member
	seen := make(map[string]bool)
	for dec.More() {
		var m member
		token, err := dec.Token()
		if err == nil {
			err = dec.Decode(&m.value)
		}
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errors.New("is not valid JSON")
		}
		if seen[name] {
			return nil, fmt.Errorf("has %s twice", quoted(name))
		}
		seen[name] = true
		m.name = name
		members = append(members, m)
	}
	return members, nil
}

// text reads a member that has to be a text.
func (m member) text(into *string) error {
	if m.value[0] != '"' || json.Unmarshal(m.value, into) != nil {
		return fmt.Errorf("the field %s has to be a text", m.name)
	}
	return nil
}

// texts reads a member that is a text or a list of texts which a header can
// carry.
func (m member) texts() (values []string, ok bool) {
	var one string
	if m.value[0] == '"' && json.Unmarshal(m.value, &one) == nil {
		values = []string{one}
	} else if m.value[0] != '[' || json.Unmarshal(m.value, &values) != nil {
		return nil, false
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, false
		}
	}
	return values, true
}

func unknownField(name string) error {
	return fmt.Errorf("an envelope has no field %s; there are method, url, userForeignIdentifier, body and headers", quoted(name))
}

// quoted quotes what a caller sent, shortened, for a message to the caller.
func quoted(text string) string {
	const longest = 64
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
