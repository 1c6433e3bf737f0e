package relay

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// answer is the writer of a call's answer. It adds what we say of HubSpot's
// answer, and keeps what handlers in front have set.
type answer struct {
	http.ResponseWriter
	call *Call
	// status is 0 until the final header was written.
	status int
	// early is set for an answer to an upload that goes on, which is the last
	// on its connection.
	early bool
	// awaited is the body of a request with "Expect: 100-continue".
	awaited *awaitedBody
}

func (w *answer) init(c *Call, inner http.ResponseWriter) {
	w.call, w.ResponseWriter = c, inner
	r := c.inbound
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.awaitBody(r)
	}
	// A key without values keeps Go's server from guessing the type of
	// what HubSpot sent without one.
	if header := inner.Header(); header["Content-Type"] == nil {
		header["Content-Type"] = nil
	}
}

// release leaves the answer to somebody else.
func (w *answer) release() {
	if header := w.Header(); header["Content-Type"] == nil {
		delete(header, "Content-Type")
	}
}

// Unwrap is for [http.ResponseController].
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader passes a status on.
func (w *answer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	header := w.Header()
	if w.call.isHubSpots() {
		w.call.describe(header)
	}
	switch {
	case w.awaited != nil && w.awaited.ask(func() {}):
		// The server does not read the body of a last request.
		header.Set("Connection", "close")
	case w.isEarly():
		// Go's server would read some of the upload first, and show nothing
		// of the answer until then.
		w.early = http.NewResponseController(w.ResponseWriter).EnableFullDuplex() == nil
		header.Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// isEarly reports whether HubSpot answers an upload that goes on.
func (w *answer) isEarly() bool {
	c := w.call
	return c.inbound.ProtoMajor == 1 && !c.enveloped && c.isHubSpots() && c.body.goesOn()
}

// maxLinger is how long the rest of an upload is read after its answer. A client
// that writes to a closed connection may lose what it was sent.
const maxLinger = 5 * time.Second

// linger reads the rest of an upload that was answered early.
func (w *answer) linger() {
	if !w.early || !w.call.body.goesOn() {
		return
	}
	control := http.NewResponseController(w.ResponseWriter)
	_ = control.Flush()
	if control.SetReadDeadline(time.Now().Add(maxLinger)) == nil {
		w.call.body.drain(w.call.inbound.Body)
	}
}

// Write passes a part of the body on.
func (w *answer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// inform passes an informational answer on. What handlers in front have set is
// for the final one.
func (w *answer) inform(status int, informational http.Header) {
	header := w.Header()
	before := maps.Clone(header)
	clear(header)
	maps.Copy(header, informational)
	w.call.guard.keepOut(header)
	if status == http.StatusContinue && w.awaited != nil {
		// HubSpot's 100 comes at the same time as the first reading of the
		// body that it has asked for; the client gets one of the two.
		w.awaited.ask(func() { w.ResponseWriter.WriteHeader(status) })
	} else {
		w.ResponseWriter.WriteHeader(status)
	}
	clear(header)
	maps.Copy(header, before)
}

// awaitBody lets a request be answered without asking for the body that its
// client holds back (RFC 9110, 10.1.1). Go's server would see to that, but
// handlers in front may have wrapped the body, and so the server would read it
// before it answers, while the client waits for the answer.
func (w *answer) awaitBody(r *http.Request) {
	if httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
		w.awaited = &awaitedBody{ReadCloser: r.Body}
		r.Body = w.awaited
	}
}

// awaitedBody is a body that the client holds back until it is asked for it.
type awaitedBody struct {
	io.ReadCloser

	mu    sync.Mutex
	asked bool
}

// ask runs how if the client was not asked before, and reports whether.
func (b *awaitedBody) ask(how func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked {
		return false
	}
	b.asked = true
	how()
	return true
}

// Read reads the body on. With the first call the server asks for it, if
// nobody has.
func (b *awaitedBody) Read(p []byte) (int, error) {
	b.ask(func() {})
	return b.ReadCloser.Read(p)
}
