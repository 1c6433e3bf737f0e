package relay_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// h2Server is an upstream that speaks HTTP/2 over TLS by hand: it does with
// each stream what the test says.
type h2Server struct {
	url  string
	pool *x509.CertPool
	// act is told the number of the stream among all, from 1 on.
	act func(s *h2Stream, n int) error

	mu      sync.Mutex
	streams []*h2Stream
	served  sync.WaitGroup
}

// h2Stream is a request as it arrived.
type h2Stream struct {
	server *h2Server
	framer *http2.Framer
	id     uint32
	method string
	body   bytes.Buffer
	ended  chan struct{}
	write  *sync.Mutex
}

func newH2Server(t testing.TB, act func(s *h2Stream, n int) error) *h2Server {
	t.Helper()
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	certificates, root := lender.TLS.Certificates, lender.Certificate()
	lender.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &h2Server{url: "https://" + listener.Addr().String(), pool: x509.NewCertPool(), act: act}
	s.pool.AddCert(root)
	listener = tls.NewListener(listener, &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}})
	var conns sync.Map
	s.served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, true)
			s.served.Go(func() { _ = s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		s.served.Wait()
	})
	return s
}

// trusted has the relay take the server's certificate.
func (s *h2Server) trusted(t testing.TB) func(*relay.Config) {
	transport := newTransport(t)
	transport.TLSClientConfig.RootCAs = s.pool
	return func(c *relay.Config) { c.Transport = transport }
}

func (s *h2Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

func (s *h2Server) serve(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	open := make(map[uint32]*h2Stream)
	var write sync.Mutex
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				write.Lock()
				_ = framer.WriteSettingsAck()
				write.Unlock()
			}
		case *http2.MetaHeadersFrame:
			if open[frame.StreamID] != nil {
				close(open[frame.StreamID].ended)
				continue
			}
			stream := &h2Stream{server: s, framer: framer, id: frame.StreamID, method: frame.PseudoValue("method"), ended: make(chan struct{}), write: &write}
			open[frame.StreamID] = stream
			if frame.StreamEnded() {
				close(stream.ended)
			}
			s.mu.Lock()
			s.streams = append(s.streams, stream)
			n := len(s.streams)
			s.mu.Unlock()
			s.served.Go(func() {
				if s.act(stream, n) != nil {
					_ = conn.Close()
				}
			})
		case *http2.DataFrame:
			stream := open[frame.StreamID]
			stream.body.Write(frame.Data())
			if n := uint32(len(frame.Data())); n > 0 {
				write.Lock()
				_ = framer.WriteWindowUpdate(0, n)
				_ = framer.WriteWindowUpdate(frame.StreamID, n)
				write.Unlock()
			}
			if frame.StreamEnded() {
				close(stream.ended)
			}
		}
	}
}

// whole waits for the end of the request.
func (s *h2Stream) whole() { <-s.ended }

func (s *h2Stream) reset(code http2.ErrCode) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.framer.WriteRSTStream(s.id, code)
}

// goAway ends the connection after the stream of the given id.
func (s *h2Stream) goAway(last uint32, code http2.ErrCode) error {
	return s.goAwaySaying(last, code, "")
}

func (s *h2Stream) goAwaySaying(last uint32, code http2.ErrCode, debug string) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.framer.WriteGoAway(last, code, []byte(debug))
}

// answer waits for the whole request and answers 200 with its size.
func (s *h2Stream) answer() error {
	s.whole()
	s.write.Lock()
	defer s.write.Unlock()
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: head.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	return s.framer.WriteData(s.id, true, []byte(strconv.Itoa(s.body.Len())))
}

// What HTTP/2 proves not to have been processed is sent again, whatever the
// method (RFC 9113, 6.8 and 8.7).
func TestUnprocessedIsSentAgain(t *testing.T) {
	t.Parallel()
	faults := map[string]func(s *h2Stream) error{
		"refused at once":           func(s *h2Stream) error { return s.reset(http2.ErrCodeRefusedStream) },
		"refused after the body":    func(s *h2Stream) error { s.whole(); return s.reset(http2.ErrCodeRefusedStream) },
		"GOAWAY":                    func(s *h2Stream) error { return s.goAway(0, http2.ErrCodeNo) },
		"GOAWAY after the body":     func(s *h2Stream) error { s.whole(); return s.goAway(0, http2.ErrCodeNo) },
		"GOAWAY and a hang-up":      func(s *h2Stream) error { s.whole(); _ = s.goAway(0, http2.ErrCodeNo); return errHangUp },
		"GOAWAY of a busy edge":     func(s *h2Stream) error { return s.goAway(0, http2.ErrCodeEnhanceYourCalm) },
		"GOAWAY after another call": func(s *h2Stream) error { return s.goAway(s.id-2, http2.ErrCodeNo) },
	}
	for name, fault := range faults {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			for _, size := range []int{0, 2, 86_000, relay.MaxKept} {
				if size > 0 && (method == "GET" || method == "DELETE") || size == 0 && method == "PATCH" {
					continue
				}
				t.Run(name+" "+method+" "+strconv.Itoa(size), func(t *testing.T) {
					t.Parallel()
					first := 1
					if name == "GOAWAY after another call" {
						first = 2
					}
					server := newH2Server(t, func(s *h2Stream, n int) error {
						if n == first {
							return fault(s)
						}
						return s.answer()
					})
					h := startProxy(t, server.url, server.trusted(t))
					if first == 2 {
						h.Get("/crm/first", "acme")
					}
					got := h.Do(method, "/crm/x", strings.NewReader(strings.Repeat("x", size)), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
					if got.StatusCode != 200 || got.Text != strconv.Itoa(size) || server.count() != first+1 {
						t.Errorf("%s %s after %d streams", got.Status, got.Text, server.count())
					}
				})
			}
		}
	}
}

// Where the body was not kept, the caller is told that nothing was processed.
func TestUnprocessedAndNotKept(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(s *h2Stream) error{
		"refused": func(s *h2Stream) error { return s.reset(http2.ErrCodeRefusedStream) },
		"GOAWAY":  func(s *h2Stream) error { return s.goAway(0, http2.ErrCodeNo) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newH2Server(t, func(s *h2Stream, _ int) error { return fault(s) })
			h := startProxy(t, server.url, server.trusted(t))
			got := h.Do("POST", "/crm/x", strings.NewReader(strings.Repeat("x", relay.MaxKept+1)), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
			e := wantOwnError(t, got, 502, "upstream_unreachable")
			if !strings.Contains(e.Message, "Nothing was processed") || server.count() != 1 {
				t.Errorf("message %q after %d streams", e.Message, server.count())
			}
			// Refused every time, it is sent as often as any other.
			for _, body := range []io.Reader{strings.NewReader("{}"), nil} {
				for _, method := range []string{"POST", "DELETE", "GET"} {
					before := server.count()
					got = h.Do(method, "/crm/x", body, "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
					e = wantOwnError(t, got, 502, "upstream_unreachable")
					if !strings.Contains(e.Message, "Nothing was processed") || server.count() != before+3 || !strings.Contains(got.Header.Get("Proxy-Status"), "tries=3") {
						t.Errorf("%s: message %q after %d streams, %s", method, e.Message, server.count()-before, got.Header.Get("Proxy-Status"))
					}
				}
			}
		})
	}
}

// What may have been processed is not sent again, unless it only reads.
func TestResetAfterProcessingIsNotReplayed(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(s *h2Stream) error{
		"CANCEL":              func(s *h2Stream) error { s.whole(); return s.reset(http2.ErrCodeCancel) },
		"INTERNAL_ERROR":      func(s *h2Stream) error { s.whole(); return s.reset(http2.ErrCodeInternal) },
		"PROTOCOL_ERROR":      func(s *h2Stream) error { s.whole(); return s.reset(http2.ErrCodeProtocol) },
		"ENHANCE_YOUR_CALM":   func(s *h2Stream) error { s.whole(); return s.reset(http2.ErrCodeEnhanceYourCalm) },
		"GOAWAY that took it": func(s *h2Stream) error { s.whole(); _ = s.goAway(s.id, http2.ErrCodeNo); return errHangUp },
		"hang-up":             func(s *h2Stream) error { s.whole(); return errHangUp },
	} {
		for _, body := range []string{"{}", ""} {
			t.Run(name+body, func(t *testing.T) {
				t.Parallel()
				server := newH2Server(t, func(s *h2Stream, n int) error {
					if n == 1 {
						return fault(s)
					}
					return s.answer()
				})
				h := startProxy(t, server.url, server.trusted(t))
				header := []string{"Authorization", "Bearer " + testCallerKey, "X-HubSpot-User", "acme", "Idempotency-Key", "k"}
				got := h.Do("POST", "/crm/x", strings.NewReader(body), header...)
				e := wantOwnError(t, got, 502, "upstream_unreachable")
				if !strings.Contains(e.Message, "may have processed") || server.count() != 1 {
					t.Errorf("message %q after %d streams", e.Message, server.count())
				}
			})
		}
	}
}

// A client that promises that a repetition is harmless cannot know that of
// HubSpot: over HTTP/1.1, Go's transport would take its word.
func TestIdempotencyKeyIsNoReasonToReplay(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		if !strings.HasPrefix(m.start, "GET ") {
			return errHangUp
		}
		return plainAnswer(w, m, more)
	})
	h := startProxy(t, upstream.url())
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, body := range []io.Reader{strings.NewReader("{}"), nil} {
			for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
				before := len(upstream.taken())
				// The connection is one that was in use before.
				h.Get("/crm/x", "acme")
				got := h.Do(method, "/crm/x", body, "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme", name, "k")
				if got.StatusCode != http.StatusBadGateway || len(upstream.taken()) != before+2 {
					t.Errorf("%s with %s: %s after %d requests", method, name, got.Status, len(upstream.taken())-before)
				}
				if key := upstream.last(t).get(name); len(key) != 1 || key[0] != "k" {
					t.Errorf("%s: HubSpot gets %s %q", method, name, key)
				}
			}
		}
	}
}

// What a server says in an error is no proof of anything.
func TestAServerCannotSayThatNothingWasProcessed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"; REFUSED_STREAM", "http2: client conn not usable", "http2: Transport received Server's graceful shutdown GOAWAY",
		"http2: Transport: cannot retry err [http2: client conn not usable]", "net/http: cannot rewind body after connection loss",
	} {
		h2 := newH2Server(t, func(s *h2Stream, _ int) error {
			s.whole()
			_ = s.goAwaySaying(s.id, http2.ErrCodeInternal, text)
			return errHangUp
		})
		h1 := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
			if err := more(); err != nil {
				return err
			}
			_, _ = io.WriteString(w, text+"\r\n\r\n")
			return errHangUp
		})
		for name, h := range map[string]*harness{"HTTP/2": startProxy(t, h2.url, h2.trusted(t)), "HTTP/1.1": startProxy(t, h1.url())} {
			got := h.Do("POST", "/crm/x", strings.NewReader("{}"), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
			e := wantOwnError(t, got, 502, "upstream_unreachable")
			if !strings.Contains(e.Message, "may have processed") || h2.count() > 1 || len(h1.taken()) > 1 {
				t.Errorf("%s, %q: %q after %d and %d requests", name, text, e.Message, h2.count(), len(h1.taken()))
			}
		}
	}
}
