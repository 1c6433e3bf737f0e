package caddymodule

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

const (
	// maxKept is the largest request body that is kept for a second try.
	maxKept = 64 << 10
	// maxPeek is how much of a refusal is read to find out what it means.
	maxPeek = 16 << 10
)

// keptBody is a request body that remembers what was read of it, as long as
// that is little enough. Nothing is read ahead.
type keptBody struct {
	io.ReadCloser
	// length is the body's, or -1.
	length int64

	// mu: Go's transport may still be reading when the answer is there.
	mu    sync.Mutex
	kept  []byte
	begun bool
	ended bool
	over  bool
	// failed is why the caller's body could not be read to its end.
	failed error
}

// keepBody has the body of r kept for a second try. It returns nil if there
// is no body.
func keepBody(r *http.Request) *keptBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &keptBody{ReadCloser: r.Body, length: r.ContentLength, over: r.ContentLength > maxKept}
	if !b.over && b.length > 0 {
		b.kept = make([]byte, 0, b.length)
	}
	r.Body = b
	return b
}

// Read reads the body on.
func (b *keptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.begun = true
	b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch err {
	case nil:
	case io.EOF:
		b.ended = true
	default:
		b.failed = err
	}
	switch {
	case b.over:
	case len(b.kept)+n > maxKept:
		b.over, b.kept = true, nil
	default:
		b.kept = append(b.kept, p[:n]...)
	}
	return n, err
}

// Close closes the body, unless nothing was read of it: it is there for
// another try then, and the server closes it after that.
func (b *keptBody) Close() error {
	b.mu.Lock()
	begun := b.begun
	b.mu.Unlock()
	if !begun {
		return nil
	}
	return b.ReadCloser.Close()
}

// again returns the body for another try, if all of it was read and kept, or
// nothing read because there was no connection. No body is there again.
func (b *keptBody) again(connected bool) (io.ReadCloser, bool) {
	if b == nil {
		return nil, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.begun && !connected:
		return b, true
	case b.over || !b.ended && int64(len(b.kept)) != b.length:
		return nil, false
	}
	return io.NopCloser(bytes.NewReader(b.kept)), true
}

// bodyError is an error of the caller's body, not of HubSpot.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// blame returns the error with which a try ended, or what was wrong with the
// body, if that was the reason.
func (b *keptBody) blame(err error) error {
	if b == nil || err == nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return bodyError{b.failed}
	}
	return err
}

// refusesToken reports whether a 401 is about the access token. One that
// cannot be read, because it answers a HEAD or is in an encoding that only
// the caller knows, counts: the guard against refreshing too often is
// elsewhere. The body of the answer is as it was afterwards.
func refusesToken(method string, res *http.Response) bool {
	if method == http.MethodHead {
		return true
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxPeek))
	res.Body = &peekedBody{
		Reader: io.MultiReader(bytes.NewReader(head), &failedReader{res.Body, err}),
		Closer: res.Body,
	}
	text, ok := decodeContent(res.Header.Get("Content-Encoding"), head)
	if !ok {
		return true
	}
	var answer struct {
		Category string `json:"category"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return false
	}
	return answer.Category == "EXPIRED_AUTHENTICATION" || answer.Category == "INVALID_AUTHENTICATION"
}

// decodeContent undoes a content coding (RFC 9110, 8.4.1) as far as maxPeek
// allows; ok is false for one that is not known here.
func decodeContent(coding string, data []byte) (text []byte, ok bool) {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return data, true
	case "gzip", "x-gzip", "deflate":
	default:
		return nil, false
	}
	decoder, ok := decoderOf(coding, bytes.NewReader(data))
	if !ok {
		return nil, true
	}
	text, _ = io.ReadAll(io.LimitReader(decoder, maxPeek))
	return text, true
}

// peekedBody is a response body whose beginning was read already.
type peekedBody struct {
	io.Reader
	io.Closer
}

// failedReader repeats the error with which reading broke off, if it did.
type failedReader struct {
	io.Reader
	err error
}

func (r *failedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.Reader.Read(p)
}
