package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http2"
)

func TestTimeoutsByDefault(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for raw, header := range map[string]time.Duration{"": 100 * time.Second, `{"protocol":"http","response_header_timeout":"30s"}`: 30 * time.Second} {
		var settings json.RawMessage
		if raw != "" {
			settings = json.RawMessage(raw)
		}
		transport, err := provisionTransport(ctx, settings)
		if err != nil {
			t.Fatal(err)
		}
		got := transport.Transport
		if got.ResponseHeaderTimeout != header || got.TLSHandshakeTimeout != 10*time.Second || got.ExpectContinueTimeout != time.Second || !got.DisableCompression {
			t.Errorf("response_header_timeout %v, tls_timeout %v, expect_continue_timeout %v, compression %v",
				got.ResponseHeaderTimeout, got.TLSHandshakeTimeout, got.ExpectContinueTimeout, !got.DisableCompression)
		}
	}
	for _, raw := range []string{`{"protocol":"fastcgi"}`, `{}`, `[]`, `{"protocol":"http","compression":true}`, `{"protocol":"http","versions":["3"]}`, `{"protocol":"http","tls":{"insecure_skip_verify":true}}`} {
		if _, err := provisionTransport(ctx, json.RawMessage(raw)); err == nil {
			t.Errorf("%s is taken", raw)
		}
	}
}

// HubSpot is told how much of an answer may come before a slow client has taken
// what is there.
func TestSlowClientsHoldLittleOfHTTP2Answers(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	provisioned, err := provisionTransport(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	window := make(chan uint32, 1)
	go func() {
		defer close(window)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		frame, err := http2.NewFramer(conn, conn).ReadFrame()
		if settings, ok := frame.(*http2.SettingsFrame); ok && err == nil {
			size, _ := settings.Value(http2.SettingInitialWindowSize)
			window <- size
		}
	}()
	transport := provisioned.Transport
	transport.TLSClientConfig.RootCAs = lender.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
	}
	if got := <-window; got != streamBuffer {
		t.Errorf("the window of a stream is %d bytes, want %d", got, streamBuffer)
	}
}
