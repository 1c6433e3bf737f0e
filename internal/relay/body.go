package relay

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// maxKept is the largest request body that is kept for another try. A batch of
// 100 records is smaller, mostly.
const maxKept = 1 << 20

// keptBody is a request body that remembers what was read of it, as long as
// that is little enough and the budget allows it. Nothing is read ahead, unless
// the call has to wait. A nil keptBody is no body.
type keptBody struct {
	io.ReadCloser
	budget *Budget
	holder holder
	// length is the body's, or -1.
	length int64
	// ends, if not nil, is called at the end of the body.
	ends func()

	// reading is held while the caller's body is read: Go's transport may still
	// do so when the answer is there and somebody else wants the rest. mu
	// guards what follows, and is never held for long.
	reading, mu sync.Mutex
	// kept is what was read; reserved bytes of the budget are for it.
	kept     []byte
	reserved int64
	// begun and ended are set once the transport has begun to read, and once
	// the end was read. over is set if not all is kept.
	begun, ended, over bool
	// ahead is what was read before the transport did.
	ahead *bytes.Reader
	// failed is why the caller's body could not be read to its end.
	failed error
}

// keepBody has the body of r kept for another try, and its trailers, which come
// after it, passed on as far as HubSpot gets them. It returns nil if there is no
// body.
func (c *Call) keepBody(r *http.Request) *keptBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &keptBody{ReadCloser: r.Body, budget: c.relay.Budget, holder: c.holder(), length: r.ContentLength, over: r.ContentLength > maxKept}
	if b.length > 0 && !b.over && b.reserve(b.length) {
		b.kept = make([]byte, 0, b.length)
	}
	if len(r.Trailer) > 0 {
		c.keepTrailersHere(r.Trailer)
		b.ends = func() {
			for name := range r.Trailer {
				r.Trailer[name] = c.inbound.Trailer[name]
			}
		}
	}
	// Without GetBody, Go's transport sends nothing again of its own accord:
	// that is for roundTrip, which counts it.
	r.Body = b
	return b
}

// reserve takes n more bytes of the budget, or gives up keeping the body.
func (b *keptBody) reserve(n int64) bool {
	if b.over || !b.budget.take(b.holder, n) {
		b.over = true
		return false
	}
	b.reserved += n
	return true
}

// forget gives back what the body takes of the budget. Nothing is kept of it
// afterwards.
func (b *keptBody) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.budget.give(b.holder, b.reserved)
	b.reserved, b.kept, b.over = 0, nil, true
}

// Read reads the body on.
func (b *keptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.begun = true
	ahead := b.ahead
	b.mu.Unlock()
	if ahead != nil && ahead.Len() > 0 {
		return ahead.Read(p)
	}
	return b.read(p)
}

// read reads the caller's body on and keeps what it reads.
func (b *keptBody) read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.mu.Lock()
	if b.ended || b.failed != nil {
		defer b.mu.Unlock()
		if b.failed != nil {
			return 0, b.failed
		}
		return 0, io.EOF
	}
	b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(p[:n])
	switch err {
	case nil:
	case io.EOF:
		b.ended = true
		if b.ends != nil {
			b.ends()
		}
	default:
		b.failed = err
	}
	return n, err
}

func (b *keptBody) keep(part []byte) {
	size := int64(len(b.kept) + len(part))
	if b.over {
		return
	}
	if size > maxKept || size > b.reserved && !b.reserve(max(size, min(2*b.reserved, maxKept))-b.reserved) {
		b.over, b.kept = true, nil
		b.budget.give(b.holder, b.reserved)
		b.reserved = 0
		return
	}
	b.kept = append(b.kept, part...)
}

// readAhead reads the body while it can be kept. It blocks until the client has
// sent it.
func (b *keptBody) readAhead() {
	if b.length <= 0 || b.over || b.begun {
		return
	}
	buffer := make([]byte, min(b.length, 32<<10))
	for {
		if _, err := b.read(buffer); err != nil {
			break
		}
	}
	b.ahead = bytes.NewReader(b.kept)
}

// Close closes the body, unless there is more of it to be kept: it is there for
// another try then, and the proxy closes it after that.
func (b *keptBody) Close() error {
	b.mu.Lock()
	goesOn := !b.begun || !b.complete()
	b.mu.Unlock()
	if goesOn {
		return nil
	}
	return b.ReadCloser.Close()
}

// complete reports whether nothing more of the body will be kept.
func (b *keptBody) complete() bool { return b.over || b.ended || b.failed != nil }

// goesOn reports whether the client may be sending more of the body.
func (b *keptBody) goesOn() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended && b.failed == nil
}

// readRest reads a body to its end that a try has left in the middle, as long as
// it can be kept. It blocks until the client has sent it.
func (b *keptBody) readRest() {
	if b == nil {
		return
	}
	buffer := make([]byte, 32<<10)
	for {
		b.mu.Lock()
		done := b.complete()
		b.mu.Unlock()
		if done {
			return
		}
		_, _ = b.read(buffer)
	}
}

// drain reads the rest of the body from where the caller's comes from: the proxy
// has closed its own. Nothing of it is kept, or left for the transport.
func (b *keptBody) drain(from io.Reader) {
	b.reading.Lock()
	defer b.reading.Unlock()
	_, err := io.Copy(io.Discard, from)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.failed = true, err
}

// whole reports whether all of the body is kept.
func (b *keptBody) whole() bool {
	return !b.over && b.failed == nil && (b.ended || int64(len(b.kept)) == b.length)
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
	case !b.whole():
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

// peekedBody is a body whose beginning was read already.
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

// unread returns a body with what was read of it in front again. err is what
// reading it ended with, or nil.
func unread(head []byte, body io.ReadCloser, err error) io.ReadCloser {
	return &peekedBody{
		Reader: io.MultiReader(bytes.NewReader(head), &failedReader{body, err}),
		Closer: body,
	}
}
