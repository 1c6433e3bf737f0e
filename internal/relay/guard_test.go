package relay_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"

	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// A HubSpot that sends the token back in every way that is looked for. stars
// is what a program reads instead.
var stars = strings.Repeat("*", len(testToken))

func deflated(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// echoing answers every request with the same bytes.
func echoing(t *testing.T, answer string) *wireServer {
	return newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		if _, err := io.WriteString(w, answer); err != nil {
			return err
		}
		return errHangUp
	})
}

func chunk(body string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(body), body) }

func sized(head, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func TestHubSpotSendsTheTokenBack(t *testing.T) {
	t.Parallel()
	const jsonType = "\r\nContent-Type: application/json"
	leak := `{"token":"` + testToken + `"}`
	clean := `{"token":"` + stars + `"}`
	slow := "HTTP/1.1 200 OK" + jsonType + "\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Debug\r\n\r\n" +
		"a\r\n" + leak[:10] + "\r\n5\r\n" + leak[10:15] + "\r\n" + fmt.Sprintf("%x\r\n%s", len(leak)-15, leak[15:]) + "\r\n0\r\nX-Sum: 9\r\nX-Debug: Bearer " + testToken + "\r\n\r\n"
	big := leak + strings.Repeat(" ", 2<<20) + leak
	for _, tc := range []struct {
		name, path, answer string
		// body is what the caller gets; where header is set, without it.
		body, header string
		counted      string
	}{
		{"JSON", "/crm/x", sized("200 OK"+jsonType, leak), clean, "", "body=1"},
		{"JSON with a charset", "/crm/x", sized("200 OK\r\nContent-Type: Application/JSON ; charset=utf-8", leak), clean, "", "body=1"},
		{"problem", "/crm/x", sized("200 OK\r\nContent-Type: application/problem+json", leak), clean, "", "body=1"},
		// No encoder escapes a character of base64url, so nobody looks for that.
		{"JSON spelled oddly", "/crm/x", sized("200 OK"+jsonType, strings.Replace(leak, "CT", `\u0043T`, 1)), strings.Replace(leak, "CT", `\u0043T`, 1), "", ""},
		{"chunks and a trailer", "/crm/x", slow, clean, "X-Debug", "body=1 header=1"},
		{"identity", "/crm/x", sized("200 OK"+jsonType+"\r\nContent-Encoding: identity", leak), clean, "", "body=1"},
		{"header", "/crm/x", sized("302 Found\r\nLocation: https://x.example/?t="+testToken+jsonType, "{}"), "{}", "Location", "header=1"},
		{"HubSpot's name for the request", "/crm/x", sized("200 OK\r\nX-HubSpot-Correlation-Id: "+testToken+jsonType, leak), clean, "X-Hubspot-Correlation-Id", "body=1 header=1"},
		{"header with two values", "/crm/x", sized("200 OK\r\nX-Echo: a, "+testToken+"\r\nX-Echo: b"+jsonType, "{}"), "{}", "X-Echo", "header=1"},
		{"header in percent-encoding", "/crm/x", sized("200 OK\r\nX-Echo: a, %43"+testToken[1:]+jsonType, "{}"), "{}", "", ""},
		{"error page", "/crm/x", sized("404 Not Found\r\nContent-Type: text/html", "<p>"+testToken), "<p>" + stars, "", "body=1"},
		{"error in gzip", "/crm/x", sized("400 Bad Request"+jsonType+"\r\nContent-Encoding: gzip\r\nEtag: \"a\"", gzipped(leak)), clean, "Content-Encoding Etag", "body=1"},
		{"page of a suspicious path", "/crm/session-x", sized("200 OK\r\nContent-Type: text/plain", leak), clean, "", "body=1"},
		{"suspicious path in gzip", "/crm/Keys", sized("200 OK"+jsonType+"\r\nContent-Encoding: gzip", gzipped(leak)), clean, "Content-Encoding", "body=1"},
		{"suspicious path in deflate", "/crm/%74oken", sized("200 OK"+jsonType+"\r\nContent-Encoding: deflate", deflated(leak)), clean, "Content-Encoding", "body=1"},
		{"a large one in gzip", "/crm/token", sized("200 OK"+jsonType+"\r\nContent-Encoding: gzip", gzipped(big)), clean + strings.Repeat(" ", 2<<20) + clean, "Content-Encoding", "body=2"},
		{"early hints", "/crm/x", "HTTP/1.1 103 Early Hints\r\nLink: </" + testToken + ">\r\n\r\n" + sized("200 OK"+jsonType, "{}"), "{}", "Link", "header=1"},
		{"nothing of it", "/crm/x", sized("200 OK"+jsonType, `{"a":"`+testToken[:30]+`"}`), `{"a":"` + testToken[:30] + `"}`, "", ""},
		// Every body that is not coded is looked through, whatever it says it is.
		{"no JSON and not suspicious", "/crm/x", sized("200 OK\r\nContent-Type: text/csv", leak), clean, "", "body=1"},
		{"no type at all", "/crm/x", sized("200 OK", leak), clean, "", "body=1"},
		{"bytes", "/crm/x", sized("200 OK\r\nContent-Type: application/octet-stream", "\x00\xff"+testToken+"\x00"), "\x00\xff" + stars + "\x00", "", "body=1"},
		{"to the end of the connection", "/crm/x", "HTTP/1.1 200 OK" + jsonType + "\r\nConnection: close\r\n\r\n" + leak, clean, "", "body=1"},
		{"coded and not suspicious", "/crm/x", sized("200 OK"+jsonType+"\r\nContent-Encoding: gzip", gzipped(leak)), gzipped(leak), "", ""},
		{"trailer of an empty body", "/crm/x", "HTTP/1.1 200 OK" + jsonType + "\r\nTransfer-Encoding: chunked\r\nTrailer: X-Debug, Set-Cookie\r\n\r\n0\r\nX-Debug: " + testToken + "\r\nSet-Cookie: a=b\r\n\r\n", "", "X-Debug Set-Cookie", "header=1"},
		{"trailer that was not announced", "/crm/x", "HTTP/1.1 200 OK" + jsonType + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Debug: " + testToken + "\r\n\r\n", "{}", "X-Debug", "header=1"},
		{"trailer after deflate", "/crm/token", "HTTP/1.1 200 OK" + jsonType + "\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\nTrailer: X-Debug\r\n\r\n" + chunk(deflated(leak)) + "0\r\nX-Debug: " + testToken + "\r\n\r\n", clean, "Content-Encoding X-Debug", "body=1 header=1"},
		{"trailer after gzip", "/crm/token", "HTTP/1.1 200 OK" + jsonType + "\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nTrailer: X-Debug\r\n\r\n" + chunk(gzipped(leak)) + chunk(gzipped("more")) + "0\r\nX-Debug: " + testToken + "\r\n\r\n", clean + "more", "Content-Encoding X-Debug", "body=1 header=1"},
		{"error in gzip without it", "/crm/x", sized("400 Bad Request"+jsonType+"\r\nContent-Encoding: gzip", gzipped("{}")), gzipped("{}"), "", ""},
		// A coding that nobody knows cannot be undone, but what is said to be coded
		// need not be.
		{"error in a coding that nobody knows", "/crm/x", sized("400 Bad Request"+jsonType+"\r\nContent-Encoding: odd", leak), clean, "", "body=1"},
		{"plain for all its coding", "/crm/x", sized("200 OK"+jsonType+"\r\nContent-Encoding: gzip", leak), clean, "", "body=1"},
		{"error in broken gzip", "/crm/x", sized("400 Bad Request"+jsonType+"\r\nContent-Encoding: gzip", "no gzip"), "no gzip", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := startProxy(t, echoing(t, tc.answer).url())
			client := dialWire(t, h.Addr())
			client.write(t, "GET "+tc.path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testCallerKey+"\r\nX-HubSpot-User: acme\r\nTE: trailers\r\n\r\n")
			got, err := client.readAnswer("GET")
			if err != nil || string(got.body) != tc.body {
				t.Fatalf("%.300q, %v; want %.300q", got.body, err, tc.body)
			}
			whole := fmt.Sprint(got.header, got.trailer, got.interim)
			if tc.counted != "" && strings.Contains(whole, testToken) {
				t.Errorf("the answer has the token: %s", whole)
			}
			for name := range strings.FieldsSeq(tc.header) {
				if got.get(name) != nil {
					t.Errorf("the header has %s: %v", name, got.get(name))
				}
			}
			h.checkRemoved(t, tc.counted)
		})
	}
}

// What Content-Encoding says of a body decides how it is looked into, and never
// that it is not.
func TestTokenUnderAnyContentEncoding(t *testing.T) {
	t.Parallel()
	leak, clean := `{"token":"`+testToken+`"}`, `{"token":"`+stars+`"}`
	type answer struct{ codings, body, left string }
	var plain, coded []answer
	for _, codings := range []string{
		"none", "utf-8", "aws-chunked", "br", ",", "identity, identity", "gzip", "deflate, br", ";q=1",
		"gzip, gzip, gzip, gzip", "identity\r\nContent-Encoding: none",
	} {
		plain = append(plain, answer{codings: codings, body: leak})
	}
	for codings, left := range map[string]string{
		"gzip, identity": "", "gzip,": "", "GZip;q=1": "", "identity\r\nContent-Encoding: gzip": "", "none, gzip": "none",
	} {
		coded = append(coded, answer{codings, gzipped(leak), left})
	}
	coded = append(coded, answer{"deflate, gzip", gzipped(deflated(leak)), ""})
	for _, tc := range []struct {
		path, status string
		answers      []answer
	}{
		{"/crm/x", "200 OK", plain},
		{"/crm/x", "403 Forbidden", append(coded, plain...)},
		{"/crm/token", "200 OK", append(coded, plain...)},
	} {
		for _, a := range tc.answers {
			t.Run(tc.path+" "+tc.status+" "+a.codings, func(t *testing.T) {
				t.Parallel()
				h := startProxy(t, echoing(t, sized(tc.status+"\r\nContent-Type: application/json\r\nContent-Encoding: "+a.codings, a.body)).url())
				got := h.Get(tc.path, "acme")
				if got.Text != clean {
					t.Errorf("%q, want %q", got.Text, clean)
				}
				if a.body != leak && got.Header.Get("Content-Encoding") != a.left {
					t.Errorf("Content-Encoding is %q, want %q", got.Header.Get("Content-Encoding"), a.left)
				}
				h.checkRemoved(t, "body=1")
			})
		}
	}
}

// A blown up coding is not followed to its end.
func TestDecodeIsBounded(t *testing.T) {
	t.Parallel()
	random := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	twice := gzipped(gzipped(string(random)))
	for most, want := range map[int64]bool{200_000: true, 50_000: false} {
		text, err := relay.Decode([]string{"gzip", "gzip"}, strings.NewReader(twice), most)
		if whole := err == nil && text == string(random); whole != want {
			t.Errorf("with %d bytes between the codings: all of it is %v, %v", most, whole, err)
		}
	}
	if text, _ := relay.Decode([]string{"gzip", "gzip", "gzip"}, strings.NewReader(gzipped(twice)), 1<<20); text != gzipped(twice) {
		t.Error("three codings are undone")
	}
}

// A token that comes in two parts would be found in neither.
func TestRangesOfSuspiciousPaths(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	for path, want := range map[string]int{"/crm/token": 0, "/crm/x": 1} {
		h.raw("GET "+path, "X-HubSpot-User: acme", "Range: bytes=0-9", `If-Range: "a"`)
		for _, name := range []string{"Range", "If-Range"} {
			if got := upstream.last(t).get(name); len(got) != want {
				t.Errorf("%s: HubSpot gets %s %q", path, name, got)
			}
		}
	}
}

// removed counts the tokens that were removed, by where they were.
func (h *harness) removed() map[string]float64 {
	h.t.Helper()
	counts := make(map[string]float64)
	for labels, n := range h.metric("caddy_hubspot_tokens_removed_total") {
		for _, where := range []string{metrics.InBody, metrics.InHeader} {
			if strings.Contains(labels, "where="+where) {
				counts[where] = n
			}
		}
	}
	return counts
}

// checkRemoved compares the counts, and looks for the one line in the log.
func (h *harness) checkRemoved(t *testing.T, want string) {
	t.Helper()
	counts := h.removed()
	var grown []string
	for _, where := range []string{metrics.InBody, metrics.InHeader} {
		if n := counts[where]; n > 0 {
			grown = append(grown, fmt.Sprintf("%s=%v", where, n))
		}
	}
	if got := strings.Join(grown, " "); got != want {
		t.Errorf("counted %q, want %q", got, want)
	}
	logs := h.Logs.String()
	if n := strings.Count(logs, "HubSpot sent the access token back"); (n == 1) != (want != "") || n > 1 {
		t.Errorf("%d lines in the log", n)
	}
	if strings.Contains(logs, testToken) {
		t.Error("the token is in the log")
	}
}

// A token that was in use before the one that HubSpot takes counts as well.
func TestHubSpotSendsTheOldTokenBack(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		answer := jsonAnswer(200, `{"old":"`+testToken+`","new":"`+newToken+`"}`)
		switch {
		case isTokenRequest(m):
			answer = tokenAnswer(newToken)
		case m.first("Authorization") == "Bearer "+testToken:
			answer = jsonAnswer(401, expiredBody)
		}
		_, err := io.WriteString(w, answer)
		return err
	})
	h := startProxy(t, upstream.url())
	got := h.Get("/crm/x", "acme")
	if want := `{"old":"` + stars + `","new":"` + stars + `"}`; got.Text != want {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}

func TestEnvelopeWithTheToken(t *testing.T) {
	t.Parallel()
	h := startProxy(t, echoing(t, sized("200 OK\r\nContent-Type: application/json", `{"a":"`+testToken+`"}`)).url())
	got := h.post(formType, form("method", "GET", "url", "/crm/x", "userForeignIdentifier", "acme"))
	if want := `{"data":{"a":"` + stars + `"}}`; got.Text != want {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	little, err := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder().String(`{"a":"` + testToken + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	for contentType, want := range map[string]string{"application/json": `{"data":{"a":"` + stars + `"}}`, "text/html": `{"data":"{\"a\":\"` + stars + `\"}"}`} {
		h := startProxy(t, echoing(t, sized("400 Bad Request\r\nContent-Type: "+contentType+"; charset=utf-16le", little)).url())
		got := h.post(formType, form("method", "GET", "url", "/crm/x", "userForeignIdentifier", "acme"))
		if got.Text != want {
			t.Errorf("in UTF-16: %s %s", got.Status, got.Text)
		}
		h.checkRemoved(t, "body=1")
	}
	for _, coding := range []string{"none", "br", "gzip", "gzip, identity"} {
		body := `{"a":"` + testToken + `"}`
		if coding == "gzip, identity" {
			body = gzipped(body)
		}
		h := startProxy(t, echoing(t, sized("403 Forbidden\r\nContent-Type: application/json\r\nContent-Encoding: "+coding, body)).url())
		got := h.post(formType, form("method", "GET", "url", "/crm/x", "userForeignIdentifier", "acme"))
		if strings.Contains(got.Text, testToken) || !strings.Contains(got.Text, stars) && !strings.Contains(got.Text, "base64") {
			t.Errorf("in %s: %s %s", coding, got.Status, got.Text)
		}
	}
}

// What is asked for on a suspicious path is a coding that can be looked into.
func TestCodingsOfSuspiciousPaths(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url())
	for _, tc := range []struct{ path, asked, sent string }{
		{"/crm/objects/2026-09/contacts", "gzip, br;q=0.9, *", "gzip, br;q=0.9, *"},
		{"/visitor-identification/2026-09/tokens/create", "br, GZIP;q=0.5,zstd, deflate", "GZIP;q=0.5, deflate"},
		{"/visitor-identification/2026-09/tokens/create", "br, *", "identity"},
		{"/crm/%74oken", "br", "identity"},
		{"/crm/TOKEN", "identity;q=0", "identity;q=0"},
	} {
		h.raw("GET "+tc.path, "X-HubSpot-User: acme", "Accept-Encoding: "+tc.asked)
		if got := upstream.last(t).get("Accept-Encoding"); len(got) != 1 || got[0] != tc.sent {
			t.Errorf("%s: asked for %q, HubSpot for %q; want %q", tc.path, tc.asked, got, tc.sent)
		}
	}
	h.raw("GET /crm/token", "X-HubSpot-User: acme")
	if got := upstream.last(t).get("Accept-Encoding"); got != nil {
		t.Errorf("nothing was asked for, HubSpot was for %q", got)
	}
}
