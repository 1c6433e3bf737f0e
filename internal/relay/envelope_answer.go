package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// rawPrefix is the path prefix of envelopes.
const rawPrefix = "/raw/"

// maxEnvelopeAnswer is the largest answer that is put into an envelope.
const maxEnvelopeAnswer = 64 << 20

// admitEnvelope opens an envelope and judges the call in it. path is what
// follows the prefix.
func (p *Proxy) admitEnvelope(ctx context.Context, c *call, r *http.Request, path string) (*http.Request, answerWriter, error) {
	app, err := url.PathUnescape(path)
	if err != nil || !strings.EqualFold(app, p.hub.name) {
		return nil, nil, badRequest(fmt.Errorf("this proxy is for the app %s; its envelopes go to %s%s", p.hub.name, rawPrefix, p.hub.name))
	}
	if r.Method != http.MethodPost {
		return nil, nil, badRequest(errors.New("an envelope is sent with POST; the method for HubSpot is in its field method"))
	}
	e, err := readEnvelope(r, p.api.base)
	if errors.Is(err, errNoEnvelopeUser) && c.tokenID() != "" {
		err = nil // the token says for whom
	}
	if err != nil {
		return nil, nil, envelopeError(err)
	}
	if err := checkMethod(e.method); err != nil {
		return nil, nil, err
	}
	if c.user == "" {
		c.user = e.user
	}
	if err := checkOverrides(e.header); err != nil {
		return nil, nil, err
	}
	c.method, c.target = e.method, e.target.withoutDeveloperKey()
	if err := p.judge(ctx, c); err != nil {
		return nil, nil, err
	}
	p.keepHere(e.header)
	return e.request(ctx, r, c.target), newEnvelopeWriter(&c.writer), nil
}

// envelopeError maps an error of readEnvelope to an answer.
func envelopeError(err error) error {
	if _, ok := errors.AsType[bodyError](err); ok {
		return unreadable("the envelope", err)
	}
	if errors.Is(err, errNoEnvelopeUser) {
		return apierror.Wrap(apierror.UserRequired, sentence(err), err)
	}
	return badRequest(err)
}

// request returns the call in an envelope as a request.
func (e *envelope) request(ctx context.Context, r *http.Request, t target) *http.Request {
	out := r.WithContext(ctx)
	out.Method = e.method
	out.URL = t.url("", "")
	out.RequestURI = out.URL.RequestURI()
	out.Header = e.header
	// Without this any encoding would be acceptable (RFC 9110, 12.5.3).
	out.Header.Set("Accept-Encoding", "identity")
	out.Trailer, out.TransferEncoding = nil, nil
	out.Body, out.ContentLength = http.NoBody, int64(len(e.body))
	if len(e.body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(e.body))
	}
	return out
}

// envelopeWriter collects HubSpot's answer and puts it into an envelope.
type envelopeWriter struct {
	inner *responseWriter
	// header is the one that the proxy works with, and sent how it was
	// when the answer began: trailers come into it later.
	header http.Header
	sent   http.Header
	status int
	body   bytes.Buffer
	// over is set once the answer was too large.
	over bool
}

func newEnvelopeWriter(inner *responseWriter) *envelopeWriter {
	return &envelopeWriter{inner: inner, header: inner.Header().Clone()}
}

// Header returns the header of the answer.
func (w *envelopeWriter) Header() http.Header { return w.header }

// WriteHeader notes the status. Informational ones are not passed on: they
// are about an answer that the client does not get as it is.
func (w *envelopeWriter) WriteHeader(status int) {
	if status < http.StatusOK || w.status != 0 {
		return
	}
	w.status, w.sent = status, w.header.Clone()
}

// Write collects a part of the body. What is too much is read and dropped,
// so that the proxy can end in an orderly way.
func (w *envelopeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(p) > maxEnvelopeAnswer {
		w.over = true
	}
	if !w.over {
		w.body.Write(p)
	}
	return len(p), nil
}

// Flush does nothing: there is one part only.
func (w *envelopeWriter) Flush() {}

// describesBody are the headers that would be wrong for an envelope.
var describesBody = []string{
	"Content-Length", "Content-Encoding", "Content-Type", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest",
	"Content-Range", "Accept-Ranges", "Etag", "Trailer",
}

// finish writes the envelope.
func (w *envelopeWriter) finish() error {
	if w.over {
		return apierror.New(apierror.UpstreamUnreachable, fmt.Sprintf(
			"HubSpot has processed the call, but its answer is larger than %d MiB, too large for an envelope. Send the request itself, without an envelope.",
			maxEnvelopeAnswer>>20))
	}
	if w.status == 0 {
		return nil
	}
	header := w.inner.Header()
	clear(header)
	maps.Copy(header, w.sent)
	for _, name := range describesBody {
		delete(header, name)
	}
	content := envelopeContent(w.body.Bytes())
	if content != nil {
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.inner.WriteHeader(w.status)
	if content != nil {
		// An error means that the client is gone: there is nobody to tell.
		_, _ = w.inner.Write(content)
	}
	return nil
}

// envelopeContent returns an answer in its envelope: JSON as it is, anything
// else as a text, and nothing for nothing.
func envelopeContent(body []byte) []byte {
	if len(body) == 0 {
		return nil
	}
	if !json.Valid(body) {
		// Marshalling a string cannot fail; bytes that are not UTF-8
		// become U+FFFD.
		body, _ = json.Marshal(string(body))
	}
	content := make([]byte, 0, len(body)+len(`{"data":}`))
	content = append(content, `{"data":`...)
	content = append(content, body...)
	return append(content, '}')
}
