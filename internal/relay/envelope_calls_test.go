package relay_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// form encodes pairs of names and values.
func form(pairs ...string) string {
	values := make([]string, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		values = append(values, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	return strings.Join(values, "&")
}

// post sends an envelope to the app hbdev, with the tester's key.
func (h *harness) post(contentType, body string, header ...string) answer {
	h.t.Helper()
	all := append([]string{"Authorization", "Bearer " + testCallerKey, "Content-Type", contentType}, header...)
	return h.Do(http.MethodPost, "/raw/HbDev", strings.NewReader(body), all...)
}

func TestEnvelopeCalls(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	answers := map[string]string{
		"/json":    jsonAnswer(201, `{"id": 1}`, `ETag: "x"`, "X-HubSpot-RateLimit-Remaining: 9", "Set-Cookie: a=b", "Server: cloudflare"),
		"/error":   jsonAnswer(409, `{"status":"error","category":"CONFLICT"}`),
		"/text":    "HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<h1>\"x",
		"/nothing": "HTTP/1.1 204 No Content\r\n\r\n",
		"/chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\nX-Sum: 9\r\n\r\n",
		"/head":    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n",
		"/empty":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
		"/hints":   "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + jsonAnswer(200, "null"),
	}
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		path, _, _ := strings.Cut(strings.Fields(m.start)[1], "?")
		_, err := io.WriteString(w, answers[path])
		return err
	})
	h := startProxy(t, upstream.url())
	envelope := func(method, url string, more ...string) string {
		return fmt.Sprintf(`{"method":%q,"url":%q,"userForeignIdentifier":"acme"%s}`, method, url, strings.Join(more, ""))
	}
	for _, tc := range []struct {
		name, kind, body, want string
		status                 int
		sent                   string
	}{
		{"JSON", jsonType, envelope("post", "/json?a=b%20|&hapikey=x", `,"body":{"a": 1}`), `{"data":{"id": 1}}`, 201, "POST /json?a=b%20| HTTP/1.1"},
		{"form", formType, form("method", "PUT", "url", upstream.url()+"/json", "userForeignIdentifier", "acme", "body", "[]"), `{"data":{"id": 1}}`, 201, "PUT /json HTTP/1.1"},
		{"error of HubSpot", jsonType, envelope("GET", "/error"), `{"data":{"status":"error","category":"CONFLICT"}}`, 409, "GET /error HTTP/1.1"},
		{"no JSON", jsonType, envelope("GET", "/text"), `{"data":"\u003ch1\u003e\"x"}`, 502, "GET /text HTTP/1.1"},
		{"nothing", jsonType, envelope("DELETE", "/nothing"), "", 204, "DELETE /nothing HTTP/1.1"},
		{"chunks", jsonType, envelope("GET", "/chunks"), `{"data":[1,2]}`, 200, "GET /chunks HTTP/1.1"},
		{"HEAD", jsonType, envelope("HEAD", "/head"), "", 200, "HEAD /head HTTP/1.1"},
		{"empty", jsonType, envelope("GET", "/empty"), "", 200, "GET /empty HTTP/1.1"},
		{"early hints", jsonType, envelope("GET", "/hints"), `{"data":null}`, 200, "GET /hints HTTP/1.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.post(tc.kind, tc.body, "Cookie", "a=b", "X-Outer", "1", "Accept-Encoding", "gzip", "User-Agent", "outer")
			if got.StatusCode != tc.status || got.Text != tc.want {
				t.Errorf("%s %s, want %d %s", got.Status, got.Text, tc.status, tc.want)
			}
			sent := upstream.last(t)
			if sent.start != tc.sent || sent.first("Authorization") != "Bearer "+testToken {
				t.Errorf("sent %s", sent.start)
			}
			for _, f := range sent.header {
				switch f.name {
				case "Host", "Authorization", "Content-Length", "Content-Type", "Accept-Encoding":
				default:
					t.Errorf("sent %s, which nobody asked for", f)
				}
			}
			if got.Header.Get("X-HubSpot-Portal") != "4711" || !strings.Contains(got.Header.Get("Proxy-Status"), "received-status") {
				t.Errorf("header %v", got.Header)
			}
			for _, name := range []string{"ETag", "Set-Cookie", "Trailer", "Via", "X-Sum"} {
				if value := got.Header.Get(name); value != "" {
					t.Errorf("%s: %s", name, value)
				}
			}
			if (got.Header.Get("Content-Type") == "application/json") != (tc.want != "") {
				t.Errorf("Content-Type %q", got.Header.Get("Content-Type"))
			}
		})
	}
	if got := h.post(jsonType, envelope("GET", "/json")); got.Header.Get("Server") != "cloudflare" || got.Header.Get("X-HubSpot-RateLimit-Remaining") != "9" {
		t.Errorf("header %v", got.Header)
	}
}

// The envelope's call is judged as if it had come without an envelope.
func TestEnvelopeIsJudged(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h, upstream := startErrors(t)
	h.ConnectAs("globex-1", "CGlobexToken")
	for _, tc := range []struct {
		name, method, url, user string
		header                  []string
		status                  int
		kind                    string
	}{
		{"blocked", "POST", "/oauth/v1/token", "acme", nil, 403, "endpoint_blocked"},
		{"TRACE", "trace", "/crm/x", "acme", nil, 403, "endpoint_blocked"},
		{"CONNECT is no method of theirs", "CONNECT", "/crm/x", "acme", nil, 400, "bad_request"},
		{"control character", "GET", "/crm/%00", "acme", nil, 400, "bad_request"},
		{"not connected", "GET", "/crm/x", "globex-2", nil, 404, "not_connected"},
		{"method", "DELETE", "/crm/x", "acme", []string{narrowKey}, 403, "caller_forbidden"},
		{"path", "GET", "/cms/x", "acme", []string{narrowKey}, 403, "caller_forbidden"},
		{"user", "GET", "/crm/x", "initech", []string{narrowKey}, 403, "caller_forbidden"},
		{"app", "GET", "/crm/x", "acme", []string{otherKey}, 403, "caller_forbidden"},
		{"allowed", "get", "/crm/x", "globex-1", []string{narrowKey}, 200, ""},
		{"no envelope in an envelope", "POST", "/raw/hbdev", "acme", nil, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key := testCallerKey
			if tc.header != nil {
				key = tc.header[0]
			}
			before := len(upstream.taken())
			got := h.Do("POST", "/raw/hbdev", strings.NewReader(form("method", tc.method, "url", tc.url, "userForeignIdentifier", tc.user)),
				"Authorization", "Bearer "+key, "Content-Type", formType)
			if tc.status == 200 {
				if got.Text != `{"data":{"ok": true}}` || len(upstream.taken()) != before+1 {
					t.Errorf("%s %s", got.Status, got.Text)
				}
				return
			}
			wantOwnError(t, got, tc.status, tc.kind)
			if len(upstream.taken()) != before {
				t.Error("HubSpot was asked")
			}
		})
	}
}

// An answer is passed on whatever its size is, and an envelope is not.
func TestEnvelopeSizes(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	e := wantOwnError(t, h.post(jsonType, `{"body":"`+strings.Repeat("x", relay.MaxEnvelope)+`"}`), 400, "bad_request")
	if !strings.Contains(e.Message, "32 MiB") {
		t.Errorf("message %q", e.Message)
	}
	if n := len(upstream.taken()); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
}

// A replay needs the body of the envelope once more.
func TestEnvelopeReplay(t *testing.T) {
	t.Parallel()
	upstream := revokedAPI(t, jsonAnswer(401, expiredBody))
	h := startProxy(t, upstream.url())
	got := h.post(jsonType, `{"method":"POST","url":"/crm/x","userForeignIdentifier":"acme","body":{"a":1}}`)
	sent := calls(upstream)
	if got.Text != `{"data":{"ok": true}}` || len(sent) != 2 || string(sent[1].body) != `{"a":1}` {
		t.Errorf("%s %s after %d tries", got.Status, got.Text, len(sent))
	}
}

// It works under a prefix, and against a HubSpot that speaks for itself.
func TestEnvelopeUnderAPrefix(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{})
	h.Serve(http.StripPrefix("/hs", h))
	got := h.Do("POST", "/hs/raw/hbdev", strings.NewReader(form("method", "get", "url", "/crm/objects/2026-09/contacts?limit=1", "userForeignIdentifier", "acme")),
		"Authorization", "Bearer "+testCallerKey, "Content-Type", formType)
	var page struct {
		Data struct {
			Results []struct{ ID string }
		}
	}
	got.JSON(t, &page)
	if got.StatusCode != 200 || len(page.Data.Results) != 1 {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	if got := h.Get("/hs/as/acme/crm/objects/2026-09/contacts?limit=1", ""); got.StatusCode != 200 || !strings.Contains(got.Text, `"results"`) {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}
