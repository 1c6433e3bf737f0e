package relay_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// HTTP/1.1 by hand, so that tests see and send the very bytes.

// field is one header line.
type field struct{ name, value string }

func (f field) String() string { return f.name + ": " + f.value }

// wireMessage is a request or an answer as it stood on the wire.
type wireMessage struct {
	// start is the request line or the status line.
	start   string
	header  []field
	body    []byte
	chunked bool
	trailer []field
	// interim are the 1xx answers before this one.
	interim []wireMessage
}

// get returns the values of a header.
func (m *wireMessage) get(name string) []string {
	var values []string
	for _, f := range m.header {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

func (m *wireMessage) first(name string) string {
	if values := m.get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func readFields(r *bufio.Reader) ([]field, error) {
	var fields []field
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return fields, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q", line)
		}
		fields = append(fields, field{name, strings.Trim(value, " \t")})
	}
}

// readHead reads a start line and a header.
func readHead(r *bufio.Reader) (*wireMessage, error) {
	start, err := readLine(r)
	if err != nil {
		return nil, err
	}
	header, err := readFields(r)
	return &wireMessage{start: start, header: header}, err
}

// readBody reads the body and the trailers. toEnd is for an answer without a
// length, which ends with the connection.
func (m *wireMessage) readBody(r *bufio.Reader, toEnd bool) (err error) {
	switch length := m.first("Content-Length"); {
	case strings.EqualFold(m.first("Transfer-Encoding"), "chunked"):
		m.chunked = true
		return m.readChunks(r)
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil {
			return err
		}
		m.body = make([]byte, n)
		_, err = io.ReadFull(r, m.body)
		return err
	case toEnd:
		m.body, err = io.ReadAll(r)
	}
	return err
}

func (m *wireMessage) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return err
		}
		if size == 0 {
			m.trailer, err = readFields(r)
			return err
		}
		chunk := make([]byte, size)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return err
		}
		m.body = append(m.body, chunk...)
		if _, err := readLine(r); err != nil {
			return err
		}
	}
}

// wireServer is an upstream that records requests and answers as it is told.
type wireServer struct {
	listener net.Listener
	// answer writes the answer to a request whose head was read. It reads
	// the body, with more, when it wants to.
	answer func(w io.Writer, m *wireMessage, more func() error) error

	mu       sync.Mutex
	requests []*wireMessage
	conns    map[net.Conn]bool
	served   sync.WaitGroup
}

// errHangUp makes a wireServer close the connection.
var errHangUp = errors.New("hang up")

func newWireServer(t testing.TB, answer func(w io.Writer, m *wireMessage, more func() error) error) *wireServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{listener: listener, answer: answer, conns: make(map[net.Conn]bool)}
	s.served.Go(s.serve)
	t.Cleanup(s.close)
	return s
}

func (s *wireServer) url() string { return "http://" + s.listener.Addr().String() }

func (s *wireServer) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.served.Go(func() {
			defer conn.Close()
			r := bufio.NewReader(conn)
			for s.one(conn, r) == nil {
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, conn)
		})
	}
}

func (s *wireServer) one(conn net.Conn, r *bufio.Reader) error {
	m, err := readHead(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.requests = append(s.requests, m)
	s.mu.Unlock()
	read := false
	more := func() error {
		if read {
			return nil
		}
		read = true
		return m.readBody(r, false)
	}
	if err := s.answer(conn, m, more); err != nil {
		return err
	}
	return more()
}

func (s *wireServer) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
}

// taken returns the requests so far.
func (s *wireServer) taken() []*wireMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*wireMessage(nil), s.requests...)
}

// last returns the newest request.
func (s *wireServer) last(t *testing.T) *wireMessage {
	t.Helper()
	all := s.taken()
	if len(all) == 0 {
		t.Fatal("the upstream got no request")
	}
	return all[len(all)-1]
}

// plainAnswer answers 200 with a fixed JSON body.
func plainAnswer(w io.Writer, _ *wireMessage, more func() error) error {
	if err := more(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"ok\": true}")
	return err
}

// wireClient is a connection on which a test writes requests by hand.
type wireClient struct {
	net.Conn
	r *bufio.Reader
}

// dialWire connects to an address; the connection ends with the test.
func dialWire(t testing.TB, address string) *wireClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return newWireClient(conn)
}

func newWireClient(conn net.Conn) *wireClient {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &wireClient{conn, bufio.NewReader(conn)}
}

// write sends text as it is.
func (c *wireClient) write(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// readAnswer reads an answer to a request with the method.
func (c *wireClient) readAnswer(method string) (*wireMessage, error) {
	var interim []wireMessage
	for {
		m, err := readHead(c.r)
		if err != nil {
			return nil, err
		}
		switch status := m.status(); {
		case status < 200:
			interim = append(interim, *m)
			continue
		case method == "HEAD" || status == 204 || status == 304:
		default:
			err = m.readBody(c.r, true)
		}
		m.interim = interim
		return m, err
	}
}

// status is that of an answer; 0 if the status line makes no sense.
func (m *wireMessage) status() int {
	parts := strings.SplitN(m.start, " ", 3)
	if len(parts) < 2 {
		return 0
	}
	status, _ := strconv.Atoi(parts[1])
	return status
}
