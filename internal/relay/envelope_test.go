package relay

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

// envelopeOf parses an envelope for HubSpot's own API.
func envelopeOf(contentType string, data []byte) (*envelope, error) {
	fields, err := strictbody.Parse(contentType, data, strictbody.Options{What: "the envelope", Limit: maxEnvelope})
	if err != nil {
		return nil, err
	}
	return parseEnvelope(fields, "https://api.hubapi.com")
}

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

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	const start = `{"method":"POST","url":"/crm/a","userForeignIdentifier":"acme"`
	for _, tc := range []struct {
		name, contentType, data string
		want                    envelope
	}{
		{
			name: "least", contentType: jsonType, data: `{"method":"get","url":"/crm/a?b=c&d","userForeignIdentifier":"acme"}`,
			want: envelope{method: "GET", target: target{path: "/crm/a", query: "b=c&d"}, user: "acme"},
		},
		{
			name: "form", contentType: formType + "; charset=utf-8",
			data: form("method", "Patch", "url", "/crm/a", "userForeignIdentifier", "a b", "body", `{"x": 1}`, "headers", `{"X-One":"1"}`),
			want: envelope{
				method: "PATCH", target: target{path: "/crm/a"}, user: "a b", body: []byte(`{"x": 1}`),
				header: http.Header{"X-One": {"1"}, "Content-Type": {"application/json"}},
			},
		},
		{
			name: "body keeps its bytes", contentType: "application/problem+json", data: start + `,"body": { "a" : 1.0, "b":[ ] } }`,
			want: envelope{method: "POST", body: []byte(`{ "a" : 1.0, "b":[ ] }`), header: http.Header{"Content-Type": {"application/json"}}},
		},
		{
			name: "body as text", contentType: jsonType, data: start + `,"body":"[1,\"\u00e9\"]"}`,
			want: envelope{method: "POST", body: []byte(`[1,"é"]`), header: http.Header{"Content-Type": {"application/json"}}},
		},
		{
			name: "body as text of another type", contentType: jsonType, data: start + `,"body":"a=b","headers":{"content-type":"text/plain"}}`,
			want: envelope{method: "POST", body: []byte(`a=b`), header: http.Header{"Content-Type": {"text/plain"}}},
		},
		{
			name: "number as body", contentType: jsonType, data: start + `,"body":17}`,
			want: envelope{method: "POST", body: []byte(`17`), header: http.Header{"Content-Type": {"application/json"}}},
		},
		{name: "null is nothing", contentType: jsonType, data: start + `,"body":null,"headers":null}`, want: envelope{method: "POST"}},
		{name: "empty is nothing", contentType: jsonType, data: start + `,"body":"","headers":""}`, want: envelope{method: "POST"}},
		{
			name: "headers as text", contentType: jsonType, data: start + `,"headers":"{\"x-a\":[\"1\",\"2\"],\"X-A\":\"3\"}"}`,
			want: envelope{method: "POST", header: http.Header{"X-A": {"1", "2", "3"}}},
		},
		{
			name: "ignored headers", contentType: jsonType,
			data: start + `,"headers":{"authorization":"Bearer x","HOST":"evil","Cookie":"a","Connection":"close","Transfer-Encoding":"chunked","TE":"trailers","X-HubSpot-User":"globex","X-Forwarded-For":"1.2.3.4","Content-Length":"7","Accept":"*/*"}}`,
			want: envelope{method: "POST", header: http.Header{"Accept": {"*/*"}}},
		},
		{
			name: "absolute URL", contentType: jsonType, data: `{"method":"GET","url":"HTTPS://Api.HubApi.com/a%2Fb?","userForeignIdentifier":"acme"}`,
			want: envelope{method: "GET", target: target{path: "/a%2Fb", bareQuery: true}, user: "acme"},
		},
		{
			name: "absolute URL without path", contentType: jsonType, data: `{"method":"GET","url":"https://api.hubapi.com?a","userForeignIdentifier":"acme"}`,
			want: envelope{method: "GET", target: target{path: "/", query: "a"}, user: "acme"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := envelopeOf(tc.contentType, []byte(tc.data))
			if err != nil {
				t.Fatal(err)
			}
			if tc.want.target == (target{}) {
				tc.want.target, tc.want.user = target{path: "/crm/a"}, "acme"
			}
			if got.method != tc.want.method || got.target != tc.want.target || got.user != tc.want.user || string(got.body) != string(tc.want.body) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if !maps.EqualFunc(got.header, tc.want.header, slices.Equal[[]string]) {
				t.Errorf("headers %v, want %v", got.header, tc.want.header)
			}
		})
	}
}

// manyHeaders are fields of JSON.
func manyHeaders(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, `"h%d":"",`, i)
	}
	return strings.TrimSuffix(all.String(), ",")
}

// As many headers as an envelope may have.
func TestEnvelopeWithManyHeaders(t *testing.T) {
	t.Parallel()
	e, err := envelopeOf(jsonType, []byte(`{"method":"GET","url":"/a","userForeignIdentifier":"x","headers":{`+manyHeaders(maxEnvelopeHeaderList)+`}}`))
	if err != nil || len(e.header) != maxEnvelopeHeaderList {
		t.Errorf("%d headers, %v", len(e.header), err)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	with := func(field string) string {
		return `{"method":"POST","url":"/crm/a","userForeignIdentifier":"acme",` + field + `}`
	}
	withURL := func(u string) string {
		text, _ := json.Marshal(u)
		return `{"method":"POST","userForeignIdentifier":"acme","url":` + string(text) + `}`
	}
	for _, tc := range []struct{ name, contentType, data, want string }{
		{"no type", "", "{}", "Content-Type"},
		{"multipart", "multipart/form-data; boundary=x", "--x", "Content-Type"},
		{"not JSON", jsonType, "{", "not valid JSON"},
		{"two objects", jsonType, "{}{}", "not valid JSON"},
		{"an array", jsonType, "[]", "has to be a JSON object"},
		{"not UTF-8", jsonType, "{\"method\":\"\xff\"}", "not UTF-8"},
		{"broken form", formType, "a=%zz", "well-formed"},
		{"semicolon in form", formType, "method=GET;url=/", "well-formed"},
		{"unknown field", jsonType, with(`"User":"x"`), `no field "User"`},
		{"unknown field in form", formType, form("method", "GET", "path", "/"), `no field "path"`},
		{"field twice", jsonType, with(`"url":"/b"`), `has "url" twice`},
		{"field twice, escaped", jsonType, with(`"u\u0072l":"/b"`), `has "url" twice`},
		{"field twice in form", formType, form("url", "/a", "url", "/b"), `"url" is there 2 times`},
		{"no method", jsonType, `{"url":"/a","userForeignIdentifier":"x"}`, "method is missing"},
		{"method of no text", jsonType, `{"method":1,"url":"/a","userForeignIdentifier":"x"}`, "method has to be a text"},
		{"odd method", jsonType, `{"method":"GE T","url":"/a","userForeignIdentifier":"x"}`, "no HTTP method"},
		{"long method", jsonType, `{"method":"` + strings.Repeat("G", 33) + `","url":"/a","userForeignIdentifier":"x"}`, "no HTTP method"},
		{"no url", formType, form("method", "GET", "userForeignIdentifier", "x"), "url is missing"},
		{"no user", jsonType, `{"method":"GET","url":"/a"}`, "userForeignIdentifier is missing"},
		{"numeric user", jsonType, `{"method":"GET","url":"/a","userForeignIdentifier":7}`, "has to be a text"},
		{"null url", jsonType, `{"method":"GET","url":null,"userForeignIdentifier":"x"}`, "has to be a text"},
		{"other host", jsonType, withURL("https://evil.example/a"), "https://api.hubapi.com/"},
		{"other scheme", jsonType, withURL("http://api.hubapi.com/a"), "https://api.hubapi.com/"},
		{"longer host", jsonType, withURL("https://api.hubapi.com.evil.example/a"), "https://api.hubapi.com/"},
		{"user info", jsonType, withURL("https://api.hubapi.com@evil.example/a"), "https://api.hubapi.com/"},
		{"port", jsonType, withURL("https://api.hubapi.com:8443/a"), "https://api.hubapi.com/"},
		{"backslash host", jsonType, withURL(`https://api.hubapi.com\@evil/a`), "https://api.hubapi.com/"},
		{"relative", jsonType, withURL("crm/a"), "https://api.hubapi.com/"},
		{"space before", jsonType, withURL(" /crm/a"), "https://api.hubapi.com/"},
		{"space in it", jsonType, withURL("/crm/a b"), "percent-encode"},
		{"line break", jsonType, withURL("/crm/a\r\nX: y"), "percent-encode"},
		{"fragment", jsonType, withURL("/crm/a#b"), "percent-encode"},
		// As URLs these name another host.
		{"odd double slash", jsonType, withURL("//a|b"), "starts with one /"},
		{"double slash", jsonType, withURL("//evil.example/a"), "starts with one /"},
		{"three slashes", jsonType, withURL("///evil.example/a"), "starts with one /"},
		{"slash and backslash", jsonType, withURL(`/\evil.example/a`), "starts with one /"},
		{"slash, backslash and slash", jsonType, withURL(`/\/evil.example/a`), "starts with one /"},
		{"double slash alone", jsonType, withURL("//"), "starts with one /"},
		{"double slash in a form", formType, form("method", "GET", "url", "//evil.example/a", "userForeignIdentifier", "x"), "starts with one /"},
		{"double slash after the API", jsonType, withURL("https://api.hubapi.com//a|b"), "percent-encoded"},
		{"many headers", jsonType, with(`"headers":{"a":[` + strings.Repeat(`"",`, maxEnvelopeHeaderList) + `""]}`), "more than 256 values"},
		{"many names", jsonType, with(`"headers":{` + manyHeaders(maxEnvelopeHeaderList+1) + `}`), "more than 256 values"},
		{"large headers", jsonType, with(`"headers":{"a":"` + strings.Repeat("x", maxEnvelopeHeaders) + `"}`), "larger than 64 KiB"},
		{"large headers in a text", formType, form("method", "GET", "url", "/a", "userForeignIdentifier", "x", "headers", `{"a":"`+strings.Repeat("x", maxEnvelopeHeaders)+`"}`), "larger than 64 KiB"},
		{"body no JSON", jsonType, with(`"body":"{x"`), "has to hold JSON"},
		{"body no JSON in form", formType, form("method", "POST", "url", "/a", "userForeignIdentifier", "x", "body", "a=b"), "has to hold JSON"},
		{"headers a list", jsonType, with(`"headers":["a"]`), "headers has to be a JSON object"},
		{"headers no JSON", jsonType, with(`"headers":"x"`), "headers is not valid JSON"},
		{"header twice", jsonType, with(`"headers":{"a":"1","a":"2"}`), `has "a" twice`},
		{"odd header name", jsonType, with(`"headers":{"a b":"1"}`), "no name of a header"},
		{"header with line break", jsonType, with(`"headers":{"a":"1\r\nb: 2"}`), "header a has to be"},
		{"header number", jsonType, with(`"headers":{"a":1}`), "header a has to be"},
		{"header null", jsonType, with(`"headers":{"a":null}`), "header a has to be"},
		{"header list of numbers", jsonType, with(`"headers":{"a":[1]}`), "header a has to be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := envelopeOf(tc.contentType, []byte(tc.data))
			if err == nil {
				t.Fatalf("taken as %+v", got)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want one with %q", err, tc.want)
			}
		})
	}
}

// What is parsed can be sent, to the API's host only, and says for whom.
func FuzzParseEnvelope(f *testing.F) {
	f.Add(true, []byte(`{"method":"get","url":"/crm/a?b=c","userForeignIdentifier":"acme","body":{"a":[1,"x"]},"headers":{"X-A":["1","2"]}}`))
	f.Add(true, []byte(`{"method":"POST","url":"https://api.hubapi.com/x","userForeignIdentifier":"a","body":"{}","headers":"{}"}`))
	f.Add(false, []byte(form("method", "PUT", "url", "/a|b", "userForeignIdentifier", "é", "body", "[]", "headers", `{"a":"b"}`)))
	f.Fuzz(func(t *testing.T, asJSON bool, data []byte) {
		contentType := formType
		if asJSON {
			contentType = jsonType
		}
		e, err := envelopeOf(contentType, data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if e.user == "" && !errors.Is(err, errNoEnvelopeUser) {
			t.Error("no user")
		}
		r, err := http.NewRequestWithContext(t.Context(), e.method, "https://localhost/", nil)
		if err != nil {
			t.Fatalf("method %q: %v", e.method, err)
		}
		r.URL, r.Header = e.target.url("https", "api.hubapi.com"), e.header
		if r.URL.Host != "api.hubapi.com" || r.URL.Scheme != "https" || r.URL.User != nil {
			t.Errorf("goes to %s", r.URL)
		}
		var line strings.Builder
		if err := r.Write(&line); err != nil {
			t.Fatalf("cannot be sent: %v", err)
		}
		first, _, _ := strings.Cut(line.String(), "\r\n")
		parts := strings.Split(first, " ")
		if len(parts) != 3 || !strings.HasPrefix(parts[1], "/") {
			t.Errorf("request line %q", first)
		}
		for name := range e.header {
			if ignoredInEnvelope(name) {
				t.Errorf("header %s is sent", name)
			}
		}
		if len(e.body) > 0 && !utf8.Valid(e.body) {
			t.Error("body is not UTF-8")
		}
	})
}

// enveloped puts an answer into an envelope, and reads it in small parts.
func enveloped(contentType, body string) (string, error) {
	res := &http.Response{Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(iotest.HalfReader(strings.NewReader(body)))}
	if contentType == "" {
		delete(res.Header, "Content-Type")
	}
	text, err := io.ReadAll(iotest.OneByteReader(new(guard).envelop(res).Body))
	return string(text), err
}

func TestEnvelopeContent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é€😀\"x", 5000)
	for _, tc := range []struct{ contentType, body, want string }{
		{"application/json", "", ""},
		{"application/json", `{"a": 1}`, `{"data":{"a": 1}}`},
		{"application/json;charset=utf-8", "[1,\n2]", "{\"data\":[1,\n2]}"},
		{"application/problem+json", `"text"`, `{"data":"text"}`},
		{"application/json", "null", `{"data":null}`},
		{"", `{"a": 1}`, `{"data":{"a": 1}}`},
		{"", "\r\n [1]", "{\"data\":\r\n [1]}"},
		{"", "words", `{"data":"words"}`},
		{"text/html", "<html>\"&\n", `{"data":"\u003chtml\u003e\"\u0026\n"}`},
		{"text/csv", "{", `{"data":"{"}`},
		{"application/xml", "<a/>", `{"data":"\u003ca/\u003e"}`},
		{"image/svg+xml", "<a/>", `{"data":"\u003ca/\u003e"}`},
		// A charset is decoded where it is declared, and JSON has it too.
		{"text/plain; charset=iso-8859-1", "caf\xe9", `{"data":"café"}`},
		{"text/plain", "caf\xe9", `{"data":"Y2Fm6Q==","encoding":"base64"}`},
		{"text/plain; charset=us-ascii", "\xf0\x9f", `{"data":"8J8=","encoding":"base64"}`},
		{"", "caf\xe9", `{"data":"Y2Fm6Q==","encoding":"base64"}`},
		{"text/plain", "caf\xc3\xa9", `{"data":"café"}`},
		{"text/plain; charset=windows-1252", "10 \x80", `{"data":"10 €"}`},
		{"text/plain; charset=utf-16le", "h\x00\xe9\x00", `{"data":"hé"}`},
		{"text/plain; charset=UTF-8", "é", `{"data":"é"}`},
		{"application/json; charset=ISO-8859-1", "{\"a\":\"\xe9\"}", `{"data":{"a":"é"}}`},
		// What is no text, or none that can be read here, loses nothing.
		{"application/pdf", "%PDF\xff\xfe", `{"data":"JVBERv/+","encoding":"base64"}`},
		{"application/octet-stream", "words", `{"data":"d29yZHM=","encoding":"base64"}`},
		{"image/png", "\x89PNG", `{"data":"iVBORw==","encoding":"base64"}`},
		{"text/plain", "\xff\xfe", `{"data":"//4=","encoding":"base64"}`},
		{"text/plain; charset=utf-8", "\xff", `{"data":"/w==","encoding":"base64"}`},
		{"application/x-thing; charset=utf-8", "words", `{"data":"words"}`},
		{"text/plain; charset=klingon", "words", `{"data":"d29yZHM=","encoding":"base64"}`},
		{"text/plain", "a\x00b", `{"data":"YQBi","encoding":"base64"}`},
		{"", "\xff\xfe", `{"data":"//4=","encoding":"base64"}`},
		{"; nonsense", "words", `{"data":"words"}`},
		{"text/plain", long, `{"data":` + quotedText(long) + `}`},
		{"text/plain; charset=iso-8859-1", strings.Repeat("\xe9", 9001), `{"data":"` + strings.Repeat("é", 9001) + `"}`},
		{"application/zip", strings.Repeat("abc", 4000) + "d", `{"data":"` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("abc", 4000)+"d")) + `","encoding":"base64"}`},
	} {
		got, err := enveloped(tc.contentType, tc.body)
		if err != nil || got != tc.want {
			t.Errorf("%s: %.80q becomes %.80s, %v; want %.80s", tc.contentType, tc.body, got, err, tc.want)
		}
		if got != "" && !json.Valid([]byte(got)) {
			t.Errorf("%.80s is not JSON", got)
		}
	}
}

func quotedText(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// A text that turns out to be none breaks off, so that what is missing shows.
func TestEnvelopeOfBrokenText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ contentType, body string }{
		{"text/plain", strings.Repeat("a", 10_000) + "\xff"},
		{"text/plain", strings.Repeat("a", 10_000) + "\xe2\x82"},
		{"text/plain; charset=shift_jis", "\xff\xff"},
	} {
		if got, err := enveloped(tc.contentType, tc.body); err == nil {
			t.Errorf("%s: %.80q is whole", tc.contentType, got)
		}
	}
}

// What HubSpot's connection broke off is not whole in an envelope either.
func TestEnvelopeOfBrokenAnswer(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/json", "text/plain", "application/pdf"} {
		for _, begun := range []string{"", "[1", strings.Repeat("a", 5000)} {
			res := &http.Response{Header: http.Header{"Content-Type": {contentType}},
				Body: io.NopCloser(io.MultiReader(strings.NewReader(begun), iotest.ErrReader(io.ErrUnexpectedEOF)))}
			if got, err := io.ReadAll(new(guard).envelop(res).Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s after %d bytes: %.80q, %v", contentType, len(begun), got, err)
			}
		}
	}
}
