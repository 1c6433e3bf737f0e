package relay

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const envelopeBase = "https://api.hubapi.com"

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
			got, err := parseEnvelope(tc.contentType, []byte(tc.data), envelopeBase)
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

func TestParseEnvelopeRefuses(t *testing.T) {
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
		{"odd double slash", jsonType, withURL("//a|b"), "percent-encoded"},
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
			got, err := parseEnvelope(tc.contentType, []byte(tc.data), envelopeBase)
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
		e, err := parseEnvelope(contentType, data, envelopeBase)
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

func TestEnvelopeContent(t *testing.T) {
	for body, want := range map[string]string{
		"":               "",
		`{"a": 1}`:       `{"data":{"a": 1}}`,
		"[1,\n2]":        "{\"data\":[1,\n2]}",
		`"text"`:         `{"data":"text"}`,
		"null":           `{"data":null}`,
		"<html>\"&\n":    `{"data":"\u003chtml\u003e\"\u0026\n"}`,
		"{":              `{"data":"{"}`,
		"\xff\xfe":       `{"data":"\ufffd\ufffd"}`,
		`{"a":1}{"b":2}`: `{"data":"{\"a\":1}{\"b\":2}"}`,
	} {
		got := string(envelopeContent([]byte(body)))
		if got != want {
			t.Errorf("%q becomes %s, want %s", body, got, want)
		}
		if got != "" && !json.Valid([]byte(got)) {
			t.Errorf("%s is not JSON", got)
		}
	}
}
