package relay_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

const (
	expiredBody = `{"status":"error","message":"The OAuth token used to make this call expired 75 second(s) ago.","correlationId":"c","category":"EXPIRED_AUTHENTICATION","context":{"expire time":["2022-06-21T10:37:52.040Z"]}}`
	invalidBody = `{"status":"error","message":"Authentication credentials not found.","correlationId":"c","category":"INVALID_AUTHENTICATION"}`
	newToken    = "CTestAccessToken0000000000000002"
)

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// revokedAPI refuses the first token with the given answer, gives out new
// ones, and takes those.
func revokedAPI(t *testing.T, refusal string) *wireServer {
	t.Helper()
	return newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		answer := jsonAnswer(200, `{"ok": true}`)
		switch {
		case isTokenRequest(m):
			answer = tokenAnswer(newToken)
		case m.first("Authorization") == "Bearer "+testToken:
			answer = refusal
		}
		_, err := io.WriteString(w, answer)
		return err
	})
}

// calls are the requests of an upstream that were not for tokens.
func calls(s *wireServer) (all []*wireMessage) {
	for _, m := range s.taken() {
		if !isTokenRequest(m) {
			all = append(all, m)
		}
	}
	return all
}

func TestReplay(t *testing.T) {
	t.Parallel()
	small, large := strings.Repeat("a", relay.MaxKept), strings.Repeat("a", relay.MaxKept+1)
	for _, tc := range []struct {
		name, method string
		body         string
		chunked      bool
		refusal      string
		replayed     bool
	}{
		{name: "no body", method: "GET", refusal: jsonAnswer(401, expiredBody), replayed: true},
		{name: "unknown token", method: "GET", refusal: jsonAnswer(401, invalidBody), replayed: true},
		{name: "small body", method: "POST", body: small, refusal: jsonAnswer(401, expiredBody), replayed: true},
		{name: "small chunked body", method: "POST", body: small, chunked: true, refusal: jsonAnswer(401, expiredBody), replayed: true},
		{name: "large body", method: "POST", body: large, refusal: jsonAnswer(401, expiredBody)},
		{name: "large chunked body", method: "POST", body: large, chunked: true, refusal: jsonAnswer(401, expiredBody)},
		{name: "other category", method: "GET", refusal: jsonAnswer(401, strings.Replace(expiredBody, "EXPIRED", "OTHER", 1))},
		{name: "no category", method: "GET", refusal: jsonAnswer(401, "{}")},
		{name: "no JSON", method: "GET", refusal: "HTTP/1.1 401 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"},
		{name: "nothing", method: "GET", refusal: "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"},
		{name: "other status", method: "GET", refusal: jsonAnswer(403, expiredBody)},
		{name: "gzip", method: "GET", refusal: jsonAnswer(401, gzipped(expiredBody), "Content-Encoding: gzip"), replayed: true},
		{name: "gzip of another", method: "GET", refusal: jsonAnswer(401, gzipped("{}"), "Content-Encoding: gzip")},
		{name: "broken gzip", method: "GET", refusal: jsonAnswer(401, "nonsense", "Content-Encoding: gzip")},
		{name: "encoding that is not known", method: "GET", refusal: jsonAnswer(401, "\x8b\x02\x80", "Content-Encoding: br"), replayed: true},
		{name: "HEAD", method: "HEAD", refusal: "HTTP/1.1 401 No\r\nContent-Length: 200\r\n\r\n", replayed: true},
		{name: "long answer", method: "GET", refusal: jsonAnswer(401, `{"message":"`+strings.Repeat("x", relay.MaxPeek)+`","category":"EXPIRED_AUTHENTICATION"}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			upstream := revokedAPI(t, tc.refusal)
			h := startProxy(t, upstream.url())
			var body io.Reader
			if tc.body != "" {
				body = strings.NewReader(tc.body)
				if tc.chunked {
					body = io.MultiReader(body)
				}
			}
			got := h.Do(tc.method, "/crm/x?a=b", body, "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
			sent := calls(upstream)
			if !tc.replayed {
				_, want, _ := strings.Cut(tc.refusal, "\r\n\r\n")
				if len(sent) != 1 || got.Text != want || got.StatusCode != 401 && got.StatusCode != 403 {
					t.Errorf("asked %d times; %s %q, want HubSpot's answer", len(sent), got.Status, got.Text)
				}
				if status := got.Header.Get("Proxy-Status"); !strings.Contains(status, `details="tries=1"`) {
					t.Errorf("Proxy-Status %s", status)
				}
				return
			}
			if len(sent) != 2 || got.StatusCode != 200 || len(upstream.taken()) != 3 {
				t.Fatalf("asked %d times: %s %s", len(sent), got.Status, got.Text)
			}
			if sent[1].first("Authorization") != "Bearer "+newToken || sent[1].start != sent[0].start || string(sent[1].body) != tc.body {
				t.Errorf("second try: %s %s with %d bytes", sent[1].start, sent[1].first("Authorization"), len(sent[1].body))
			}
			if status := got.Header.Get("Proxy-Status"); !strings.HasSuffix(status, `details="tries=2"`) {
				t.Errorf("Proxy-Status %s", status)
			}
		})
	}
}

// HubSpot refuses every token: there is one refresh and one more try, and
// then its answers pass.
func TestReplayNeverLoops(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int64
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		answer := jsonAnswer(401, expiredBody)
		if isTokenRequest(m) {
			answer = tokenAnswer(fmt.Sprintf("CToken%d", tokens.Add(1)))
		}
		_, err := io.WriteString(w, answer)
		return err
	})
	h := startProxy(t, upstream.url())
	for i, want := range []int{2, 1, 1} {
		before := len(calls(upstream))
		got := h.Get("/crm/x", "acme")
		if got.StatusCode != 401 || got.Text != expiredBody {
			t.Errorf("request %d: %s %s", i, got.Status, got.Text)
		}
		if n := len(calls(upstream)) - before; n != want {
			t.Errorf("request %d was sent %d times, want %d", i, n, want)
		}
	}
	if n := tokens.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// Many requests meet the refused token at once: one refresh serves them all.
func TestReplayIsShared(t *testing.T) {
	t.Parallel()
	upstream := revokedAPI(t, jsonAnswer(401, expiredBody))
	h := startProxy(t, upstream.url())
	const many = 20
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			got := h.Get("/crm/x", "acme")
			if got.StatusCode != 200 {
				t.Errorf("%s %s", got.Status, got.Text)
			}
		})
	}
	all.Wait()
	if n := len(upstream.taken()) - len(calls(upstream)); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// The body is not read ahead, and not asked for a second time.
func TestReplayLeavesStreamingAlone(t *testing.T) {
	t.Parallel()
	arrived := make(chan string)
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		arrived <- m.start
		if err := more(); err != nil {
			return err
		}
		_, err := io.WriteString(w, jsonAnswer(401, invalidBody))
		return err
	})
	h := startProxy(t, upstream.url())
	client := dialWire(t, h.Addr())
	client.write(t, "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+"\r\nX-HubSpot-User: acme\r\nContent-Length: 2000000\r\n\r\n")
	select {
	case <-arrived:
	case <-time.After(10 * time.Second):
		t.Fatal("HubSpot did not see the head before the body was there")
	}
	client.write(t, strings.Repeat("b", 2_000_000))
	got, err := client.readAnswer("POST")
	if err != nil || got.status() != 401 || string(got.body) != invalidBody {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(upstream.taken()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// The second try has the trailers of the first.
func TestReplayWithTrailers(t *testing.T) {
	t.Parallel()
	upstream := revokedAPI(t, jsonAnswer(401, expiredBody))
	h := startProxy(t, upstream.url())
	client := dialWire(t, h.Addr())
	client.write(t, "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+
		"\r\nX-HubSpot-User: acme\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 9\r\n\r\n")
	got, err := client.readAnswer("POST")
	if err != nil || got.status() != 200 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, sent := range calls(upstream) {
		if string(sent.body) != "ab" || len(sent.trailer) != 1 || sent.trailer[0] != (field{"X-Sum", "9"}) {
			t.Errorf("try %d: %q with trailer %v", i+1, sent.body, sent.trailer)
		}
	}
}

// A redirect is for the caller to judge: whoever followed it here would send
// the token where it says.
func TestRedirectsArePassedOn(t *testing.T) {
	t.Parallel()
	elsewhere := newWireServer(t, plainAnswer)
	for _, status := range []int{301, 302, 303, 307, 308} {
		upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
			if err := more(); err != nil {
				return err
			}
			_, err := io.WriteString(w, jsonAnswer(status, "{}", "Location: "+elsewhere.url()+"/crm/x"))
			return err
		})
		h := startProxy(t, upstream.url())
		got := h.Get("/crm/x", "acme")
		if got.StatusCode != status || got.Header.Get("Location") != elsewhere.url()+"/crm/x" {
			t.Errorf("%s, Location %q", got.Status, got.Header.Get("Location"))
		}
		if n := len(upstream.taken()); n != 1 {
			t.Errorf("%d: HubSpot was asked %d times", status, n)
		}
	}
	if n := len(elsewhere.taken()); n != 0 {
		t.Errorf("%d requests went where a redirect said", n)
	}
}
