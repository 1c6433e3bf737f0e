package relay_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// An upload that HubSpot answers before it has read it shows the answer, every
// time. Go's server would read the body first, unless it is told otherwise.
func TestEarlyAnswerToAnUpload(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, _ func() error) error {
		_, err := io.WriteString(w, jsonAnswer(413, `{"message":"too large"}`))
		return err
	})
	h := startProxy(t, upstream.url())
	for _, size := range []int{200_000, relay.MaxKept + 1, 4 << 20} {
		body := strings.Repeat("x", size)
		for name, upload := range map[string]string{
			"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body),
			"chunks": "Transfer-Encoding: chunked\r\n\r\n" + chunk(body[:size/2]) + chunk(body[size/2:]) + "0\r\n\r\n",
		} {
			for i := range 50 {
				client := dialWire(t, h.Addr())
				// A client that does not look for an answer while it writes.
				sent := make(chan error, 1)
				go func() {
					_, err := io.WriteString(client, acmeHead("POST /files/v3/files")+upload)
					sent <- err
				}()
				got, err := client.readAnswer("POST")
				if err != nil || got.status() != 413 || string(got.body) != `{"message":"too large"}` {
					t.Fatalf("%s of %d bytes, try %d: %+v, %v", name, size, i, got, err)
				}
				_ = client.Close()
				<-sent
			}
		}
	}
}

// A client that goes on with its upload after an early answer is not cut off:
// it would lose an answer that it has not read yet.
func TestUploadThatGoesOnAfterItsAnswer(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, _ func() error) error {
		_, _ = io.WriteString(w, jsonAnswer(413, "{}"))
		return errHangUp
	})
	h := startProxy(t, upstream.url())
	const size = 16 << 20
	client := dialWire(t, h.Addr())
	client.write(t, acmeHead("POST /files/v3/files")+fmt.Sprintf("Content-Length: %d\r\n\r\nbegun", size))
	got, err := client.readAnswer("POST")
	if err != nil || got.status() != 413 || got.first("Connection") != "close" {
		t.Fatalf("%+v, %v", got, err)
	}
	client.write(t, strings.Repeat("x", size-len("begun")))
	if _, err := client.r.ReadByte(); err != io.EOF {
		t.Errorf("the connection ends with %v", err)
	}
}

// The answer is there before the upload is: each waits for the other.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if _, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n"); err != nil {
			return err
		}
		if err := more(); err != nil {
			return err
		}
		_, err := io.WriteString(w, chunk(string(m.body))+"0\r\n\r\n")
		return err
	})
	h := startProxy(t, upstream.url())
	for _, framing := range []string{"Content-Length: 8\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
		client := dialWire(t, h.Addr())
		client.write(t, acmeHead("POST /crm/x")+framing)
		// HubSpot sees the head once there is something of the body, or at
		// once.
		parts := []string{"half", "half"}
		if strings.HasPrefix(framing, "Transfer") {
			parts = []string{chunk("half"), chunk("half") + "0\r\n\r\n"}
		}
		client.write(t, parts[0])
		head, err := readHead(client.r)
		if err != nil || head.status() != 200 {
			t.Fatalf("%+v, %v", head, err)
		}
		if size, _ := readLine(client.r); size != "5" {
			t.Errorf("the first chunk is of %s bytes", size)
		}
		if text, _ := readLine(client.r); text != "ready" {
			t.Errorf("the first chunk is %q", text)
		}
		client.write(t, parts[1])
		if err := head.readChunks(client.r); err != nil || string(head.body) != "halfhalf" {
			t.Errorf("the rest is %q, %v", head.body, err)
		}
	}
}

// The connection goes on after a whole exchange, and ends where something of
// the body was not read.
func TestConnectionsAfterUploads(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	client := dialWire(t, h.Addr())
	for _, request := range []string{
		acmeHead("POST /crm/x") + "Content-Length: 2\r\n\r\n{}",
		acmeHead("POST /crm/x") + "Transfer-Encoding: chunked\r\n\r\n" + chunk("{}") + "0\r\n\r\n",
		acmeHead("GET /oauth/x") + "\r\n",
		acmeHead("POST /oauth/x") + "Content-Length: 2\r\n\r\n{}",
		acmeHead("PUT /crm/x") + "Content-Length: 0\r\n\r\n",
		acmeHead("GET /crm/x") + "\r\n",
	} {
		client.write(t, request)
		method, _, _ := strings.Cut(request, " ")
		if got, err := client.readAnswer(method); err != nil || got.status() != 200 && got.status() != http.StatusForbidden {
			t.Fatalf("%s: %+v, %v", request, got, err)
		}
	}
}
