package proxy

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
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
