package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// responseWriter passes an answer on, takes out what reverse_proxy adds to
// it, and adds what we do. Doing that here and not in the transport spares
// the placeholders that reverse_proxy makes of every header it gets.
type responseWriter struct {
	caddyhttp.ResponseWriterWrapper
	call *call
	// status is 0 until the final header was written.
	status int
	// vias is how many Via headers the answer had before the proxy.
	vias int
	// awaited is the body of a request with "Expect: 100-continue".
	awaited *awaitedBody
}

func (w *responseWriter) init(c *call, inner http.ResponseWriter, r *http.Request) {
	w.call, w.ResponseWriter = c, inner
	w.awaitBody(r)
	header := inner.Header()
	w.vias = len(header["Via"])
	// A key without values keeps Go's server from guessing the type of
	// what HubSpot sent without one.
	if _, ok := header["Content-Type"]; !ok {
		header["Content-Type"] = nil
	}
}

// release leaves the answer to somebody else.
func (w *responseWriter) release() {
	if header := w.Header(); header["Content-Type"] == nil {
		delete(header, "Content-Type")
	}
}

// WriteHeader passes a status on.
func (w *responseWriter) WriteHeader(status int) {
	header := w.Header()
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		// The proxy has added HubSpot's header to ours, and restores ours
		// after it.
		delete(header, "Set-Cookie")
		w.call.guard.scrubHeader(header)
		if servers := header["Server"]; len(servers) > 0 && servers[0] == caddyhttp.ServerHeader {
			header["Server"] = servers[1:]
		}
		w.inform(status)
		return
	}
	if w.status == 0 {
		w.status = status
		w.removeVia(header)
		if w.call.isHubSpots() {
			w.call.describe(header)
		}
		if w.awaited != nil && w.awaited.ask(func() {}) {
			// The server does not read the body of a last request.
			header.Set("Connection", "close")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// awaitBody lets a request be answered without asking for the body that its
// client holds back (RFC 9110, 10.1.1). Go's server would see to that, but
// Caddy has wrapped the body, and so the server would read it before it
// answers, while the client waits for the answer.
func (w *responseWriter) awaitBody(r *http.Request) {
	if r.ProtoMajor != 1 || !httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
		return
	}
	w.awaited = &awaitedBody{ReadCloser: r.Body}
	r.Body = w.awaited
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

// inform passes an informational status on. HubSpot's 100 comes at the same
// time as the first reading of the body that it has asked for; the client
// gets one of the two.
func (w *responseWriter) inform(status int) {
	if status == http.StatusContinue && w.awaited != nil {
		w.awaited.ask(func() { w.ResponseWriter.WriteHeader(status) })
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// removeVia takes out the Via of the proxy. HubSpot's own follow it.
func (w *responseWriter) removeVia(header http.Header) {
	values := header["Via"]
	if len(values) <= w.vias || !strings.HasSuffix(values[w.vias], " Caddy") {
		return
	}
	if len(values) == 1 {
		delete(header, "Via")
		return
	}
	header["Via"] = append(values[:w.vias:w.vias], values[w.vias+1:]...)
}

// Write passes a part of the body on.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom passes the body on.
func (w *responseWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// finish does nothing: what HubSpot sent was passed on as it came.
func (w *responseWriter) finish() error { return nil }

// Interface guards
var (
	_ answerWriter  = (*responseWriter)(nil)
	_ io.ReaderFrom = (*responseWriter)(nil)
)
