package relay

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

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

// rawPrefix is the path prefix of envelopes.
const rawPrefix = "/raw/"

// maxEnvelope is the largest envelope in bytes. An envelope is read as a
// whole; what is larger goes in transparent mode, which streams.
const maxEnvelope = 32 << 20

// Bounds of the headers in an envelope, which are those that a server sets on
// the headers of a request, more or less.
const (
	maxEnvelopeHeaders    = 64 << 10 // bytes of the field, as it stands
	maxEnvelopeHeaderList = 256      // values
)

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

// admitEnvelope opens an envelope and judges the call in it. path is what
// follows the prefix.
func (c *Call) admitEnvelope(path string) (*http.Request, error) {
	name := c.relay.App.Name
	app, err := url.PathUnescape(path)
	switch {
	case err != nil || !strings.EqualFold(app, name):
		return nil, apierror.Badf("this proxy is for the app %s; its envelopes go to %s%s", name, rawPrefix, name)
	case c.inbound.Method != http.MethodPost:
		return nil, apierror.Bad(errors.New("an envelope is sent with POST; the method for HubSpot is in its field method"))
	}
	e, err := c.readEnvelope()
	if err != nil {
		return nil, err
	}
	if err := checkMethod(e.method); err != nil {
		return nil, err
	}
	if err := checkOverrides(e.header); err != nil {
		return nil, err
	}
	if err := c.named("the field userForeignIdentifier of the envelope", e.user); err != nil {
		return nil, err
	}
	c.enveloped, c.method, c.target = true, e.method, e.target.withoutDeveloperKey()
	if err := c.checkBlocked(); err != nil {
		return nil, err
	}
	if err := c.judge(); err != nil {
		return nil, err
	}
	return c.outgoing(e.request(c.inbound)), nil
}

// readEnvelope reads the envelope that the call came in, within the budget.
func (c *Call) readEnvelope() (*envelope, error) {
	c.inbound.Body = &budgetedBody{ReadCloser: c.inbound.Body, call: c}
	fields, err := strictbody.Read(c.inbound, strictbody.Options{What: "the envelope", Limit: maxEnvelope})
	var e *envelope
	if err == nil {
		e, err = parseEnvelope(fields, c.relay.api.base)
	}
	if errors.Is(err, errNoEnvelopeUser) && (c.tokenID() != "" || c.asApp) {
		err = nil // the token says for whom, or it is for no user
	}
	if err == nil {
		return e, nil
	}
	if _, ok := errors.AsType[*strictbody.BrokenError](err); ok && !errors.Is(err, errOverBudget) {
		return nil, c.unreadable("the envelope", err)
	}
	switch {
	case errors.Is(err, errOverBudget):
		return nil, apierror.New(apierror.TooBusy,
			"The sidecar holds as many envelopes and bodies as it may at the moment, or as many as one caller may beside others. Try again, or send the request itself, without an envelope.")
	case errors.Is(err, strictbody.ErrTooLarge):
		err = fmt.Errorf("%w; send the request itself, without an envelope", err)
	case errors.Is(err, errNoEnvelopeUser):
		return nil, apierror.Wrap(apierror.UserRequired, apierror.Sentence(err), err)
	}
	return nil, apierror.Bad(err)
}

// errOverBudget means that the budget has no more bytes for the caller.
var errOverBudget = errors.New("the budget of bytes is used up")

// budgetedBody takes from the budget what is read of an envelope.
type budgetedBody struct {
	io.ReadCloser
	call *Call
}

// Read implements [io.Reader].
func (b *budgetedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.call.relay.Budget.take(b.call.holder(), int64(n)) {
		return 0, errOverBudget
	}
	b.call.taken += int64(n)
	return n, err
}

// request returns the call in an envelope as a request.
func (e *envelope) request(r *http.Request) *http.Request {
	out := *r
	out.Method, out.Header = e.method, e.header
	// Without this any encoding would be acceptable (RFC 9110, 12.5.3).
	out.Header.Set("Accept-Encoding", "identity")
	out.Trailer, out.TransferEncoding = nil, nil
	out.Body, out.ContentLength = http.NoBody, int64(len(e.body))
	if len(e.body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(e.body))
	}
	return &out
}

// parseEnvelope makes an envelope of its fields. base is the scheme and host of
// HubSpot's API. Errors are meant for the caller; with errNoEnvelopeUser there
// is an envelope, which lacks nothing else.
func parseEnvelope(fields []strictbody.Field, base string) (*envelope, error) {
	var e envelope
	var address string
	var headers json.RawMessage
	checkBody := false
	for _, f := range fields {
		var err error
		switch f.Name {
		case fieldMethod:
			e.method, err = f.Text()
		case fieldURL:
			address, err = f.Text()
		case fieldUser:
			e.user, err = f.Text()
		case fieldBody:
			var text string
			text, checkBody = textIn(f)
			if e.body = []byte(text); !checkBody && f.JSON != nil && string(f.JSON) != "null" {
				e.body = f.JSON
			}
			err = checkSingle(f)
		case fieldHeaders:
			headers = f.JSON
			if text, ok := textIn(f); ok {
				headers = json.RawMessage(text)
			}
			err = checkSingle(f)
		default:
			err = fmt.Errorf("an envelope has no field %s; there are method, url, userForeignIdentifier, body and headers", apierror.Quoted(f.Name))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := e.setCall(address, base); err != nil {
		return nil, err
	}
	var err error
	if e.header, err = parseEnvelopeHeaders(headers); err != nil {
		return nil, err
	}
	if err = e.finishBody(checkBody); err == nil && e.user == "" {
		err = errNoEnvelopeUser
	}
	return &e, err
}

// checkSingle refuses a field that a form has more than once.
func checkSingle(f strictbody.Field) error {
	if f.JSON != nil {
		return nil
	}
	_, err := f.Text()
	return err
}

// textIn returns the text that a field is, in a form or in JSON.
func textIn(f strictbody.Field) (text string, ok bool) {
	if f.JSON == nil {
		return f.Form[0], true
	}
	ok = f.JSON[0] == '"' && json.Unmarshal(f.JSON, &text) == nil
	return text, ok
}

// setCall checks the method and the address.
func (e *envelope) setCall(address, base string) (err error) {
	e.method = strings.ToUpper(e.method)
	switch {
	case e.method == "":
		return errors.New("the field method is missing: it is GET, POST, PUT, PATCH or DELETE")
	case !httpguts.ValidHeaderFieldName(e.method) || len(e.method) > 32:
		return errors.New("the field method is no HTTP method")
	case address == "":
		return errors.New("the field url is missing: it is a path such as /crm/objects/2026-09/contacts")
	}
	e.target, err = parseEnvelopeURL(address, base)
	return err
}

// finishBody checks the body against its type, and gives it one. check is set
// for a text that has to hold JSON.
func (e *envelope) finishBody(check bool) error {
	if len(e.body) == 0 {
		e.body = nil
		return nil
	}
	contentType := e.header.Get("Content-Type")
	if contentType == "" {
		e.header.Set("Content-Type", "application/json")
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if check && (contentType == "" || strictbody.IsJSON(mediaType)) && !json.Valid(e.body) {
		return errors.New("the field body is a text that has to hold JSON; for another body give its Content-Type in headers")
	}
	return nil
}

// parseEnvelopeURL reads the field url: a path, or a URL of the API.
func parseEnvelopeURL(raw, base string) (target, error) {
	wrong := fmt.Errorf("the field url has to be a path that starts with one / or a URL that starts with %s/", base)
	rest := raw
	if !strings.HasPrefix(raw, "/") {
		if len(raw) < len(base) || !strings.EqualFold(raw[:len(base)], base) {
			return target{}, wrong
		}
		rest = raw[len(base):]
		if rest == "" || rest[0] == '?' {
			rest = "/" + rest
		}
		if rest[0] != '/' {
			return target{}, wrong
		}
	} else if len(raw) > 1 && (raw[1] == '/' || raw[1] == '\\') {
		// As a URL these name another host (RFC 3986, 4.2; WHATWG URL, 4.4).
		return target{}, wrong
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
	if len(raw) > maxEnvelopeHeaders {
		return nil, fmt.Errorf("the field headers is larger than %d KiB", maxEnvelopeHeaders>>10)
	}
	fields, err := strictbody.Object(raw)
	if err != nil {
		return nil, fmt.Errorf("the field headers %w", err)
	}
	count := 0
	for _, f := range fields {
		if !httpguts.ValidHeaderFieldName(f.Name) {
			return nil, fmt.Errorf("the field headers has %s, which is no name of a header", apierror.Quoted(f.Name))
		}
		values, ok := headerValues(f)
		if !ok {
			return nil, fmt.Errorf("the header %s has to be a text or a list of texts without line breaks", f.Name)
		}
		if count += len(values); count > maxEnvelopeHeaderList {
			return nil, fmt.Errorf("the field headers has more than %d values", maxEnvelopeHeaderList)
		}
		if !ignoredInEnvelope(f.Name) {
			name := textproto.CanonicalMIMEHeaderKey(f.Name)
			header[name] = append(header[name], values...)
		}
	}
	return header, nil
}

// headerValues reads a text or a list of texts that a header can carry.
func headerValues(f strictbody.Field) (values []string, ok bool) {
	if text, one := textIn(f); one {
		values, ok = []string{text}, true
	} else {
		values, ok = f.Texts()
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, false
		}
	}
	return values, ok
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
