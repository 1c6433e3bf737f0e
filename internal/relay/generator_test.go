package relay_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
)

// framing is how a body is sent.
type framing int

const (
	noBody framing = iota
	withLength
	inChunks
	inChunksWithTrailers
	// toTheEnd is for answers only.
	toTheEnd
)

// transparencyCase is a request and the answer to it.
type transparencyCase struct {
	number int

	method, target string
	header         []field
	framing        framing
	body           []byte
	trailer        []field
	// expects makes the client wait for 100 Continue, and refused has the
	// upstream answer without asking for the body.
	expects, refused bool

	status   int
	proto    string
	interim  []field
	answered []field
	reply    []byte
	replied  framing
	after    []field
}

// generator makes cases from a seed.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, seed))}
}

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) next(number int) *transparencyCase {
	c := &transparencyCase{number: number}
	c.method = pick(g, "GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "get", "M-SEARCH")
	c.target = g.path() + g.query()
	g.requestBody(c)
	c.header = g.requestHeader(c)
	g.reply(c)
	return c
}

// segments are odd and legal parts of paths, and some that are not legal but
// that servers take.
var segments = []string{
	"crm", "objects", "2026-09", "contacts", "123", "a%2Fb", "a%2fb", "%41", "%7E", "~", "a+b", "a%20b", "a%2Bb", "a;b=c", ";x", "a,b", "a=b", "a&b",
	"jo@example.com", "jo%40example.com", "urn:x:y", "!$'()*", "%F0%9F%98%80", "%C3%A9", "é", "日本", "%FF", "%C0%AF", "a|b", "a^b", "`", "{id}", `"q"`, "<x>", `a\b`, "%5C", "[1]", "%25", "%2525",
	"..", ".", "...", "%2E", "%2e%2e", "", "", "a..b", "CRM", "0", "a%3Fb", "a%23b", "_x_", "-",
}

func (g generator) path() string {
	path := "/" + pick(g, "crm", "cms", "marketing", "files%2Fx", "é", "v1")
	for range g.IntN(6) {
		path += "/" + pick(g, segments...)
	}
	if g.chance(5) {
		path += "/" + strings.Repeat("x", 2000)
	}
	return path
}

// developerKeys are spellings of the parameter that is taken out.
var developerKeys = []string{"hapikey=demo", "%68apikey=demo", "hapike%79=", "HapiKey=demo", "hapikey"}

var parameters = []string{
	"limit=10", "after=NTI1Cg%3D%3D", "a=1", "a=2", "a", "a=", "=a", "=", "", "a=b=c", "a;b", "a=%zz", "a=é", "a=%C3%A9", "q=a+b", "q=a%20b", "q=a?b", "q=/x/../y", "p[]=1", "p%5B%5D=2",
	"properties=firstname,lastname", "properties=email", "x=|^`{}\"<>\\", "hapikeys=1", "xhapikey=1", "a=hapikey", "%26=%3D",
}

func (g generator) query() string {
	switch g.IntN(10) {
	case 0, 1:
		return ""
	case 2:
		return "?"
	}
	var all []string
	for range 1 + g.IntN(7) {
		all = append(all, pick(g, parameters...))
	}
	if g.chance(10) {
		all = append(all, "ids="+strings.Repeat("0123456789,", 300))
	}
	if g.chance(15) {
		key := pick(g, developerKeys...)
		// One that would leave an empty query behind stands alone.
		all = append([]string{"first=1"}, append(all, key)...)
	} else if g.chance(3) {
		all = []string{pick(g, developerKeys...)}
	}
	return "?" + strings.Join(all, "&")
}

// bytes returns content of some kind.
func (g generator) bytes() []byte {
	size := pick(g, 1, 17, 600, 5000, 70_000, 200_000)
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(g.Uint32())
	}
	switch g.IntN(4) {
	case 0:
		return fmt.Appendf(nil, `{"properties": {"x": %q}}`, strings.Repeat("y", size/2))
	case 1:
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(content[:min(size, 5000)])
		_ = w.Close()
		return b.Bytes()
	}
	return content
}

func (g generator) requestBody(c *transparencyCase) {
	c.framing = pick(g, noBody, withLength, withLength, inChunks, inChunksWithTrailers)
	if c.method == "HEAD" || c.method == "get" || c.method == "GET" && !g.chance(20) {
		c.framing = noBody
	}
	if c.framing == noBody {
		return
	}
	if !g.chance(10) {
		c.body = g.bytes()
	}
	if c.framing == inChunksWithTrailers {
		c.trailer = []field{{"X-Checksum", "abc"}, {"X-Other", "1"}}
	}
	if len(c.body) > 0 && g.chance(15) {
		c.expects = true
		c.refused = g.chance(30)
	}
}

// odd are headers of a request that go up.
var odd = []field{
	{"Accept", "application/json"}, {"Accept", "*/*;q=0.1"}, {"accept-encoding", "gzip, br"}, {"Accept-Encoding", "identity"}, {"User-Agent", "hubspot-api-client-nodejs; 14.0.1"},
	{"X-Empty", ""}, {"X-Twice", "1"}, {"x-twice", "2"}, {"X-TWICE", "2"}, {"X-Comma", "a, b,,c"}, {"X-Latin", "caf\xe9"}, {"X-UTF8", "café"}, {"X-Tab", "a\tb"}, {"X-Quote", `"a\"b"`},
	{"X-Placeholder", "{http.request.host} {env.HOME}"}, {"X!#$%&'*+^`|~-0", "token"}, {"x-long", strings.Repeat("v", 4000)}, {"If-None-Match", `W/"x"`}, {"If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"},
	{"Range", "bytes=0-9"}, {"Origin", "https://app.example.com"}, {"Referer", "https://app.example.com/"}, {"Sec-Fetch-Site", "cross-site"}, {"DNT", "1"}, {"Idempotency-Key", "k"}, {"X-Request-Id", "r"}, {"X-Real-IP", "1.2.3.4"},
	{"X-HubSpot-Signature", "s"}, {"Date", "Sat, 01 Jan 2000 00:00:00 GMT"}, {"Content-Language", "de"}, {"Cache-Control", "no-store"}, {"Early", "x"}, {"Max-Forwards", "3"}, {"Server", "mine"}, {"Proxy-Status", "x"}, {"Prefer", "return=minimal"},
}

// local are headers that stay at the sidecar, or that it or Caddy changes.
var local = []field{
	{"Cookie", "a=b"}, {"Cookie", "c=d"}, {"X-Forwarded-For", "1.2.3.4"}, {"X-Forwarded-Host", "evil"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Anything", "x"}, {"Forwarded", "for=1.2.3.4"}, {"Via", "1.1 other"},
	{"X-HubSpot-Max-Wait", "2s"}, {"X-HubSpot-Priority", "batch"}, {"Connection", "close"}, {"Connection", "keep-alive, X-Hop"}, {"X-Hop", "x"}, {"Keep-Alive", "timeout=5"}, {"Proxy-Connection", "keep-alive"}, {"Proxy-Authorization", "Basic eDp5"},
	{"TE", "trailers"}, {"TE", "gzip"}, {"X_Under", "x"}, {"X.Dot", "x"}, {"User-Agent", ""}, {"Pragma", "no-cache"},
}

func (g generator) requestHeader(c *transparencyCase) []field {
	header := []field{
		{"Host", "localhost"}, {"X-Case", strconv.Itoa(c.number)},
		{"Authorization", "Bearer " + testCallerKey}, {"X-HubSpot-User", "acme"},
	}
	for range g.IntN(8) {
		header = append(header, pick(g, odd...))
	}
	for range g.IntN(4) {
		header = append(header, pick(g, local...))
	}
	if g.chance(3) {
		header = append(header, field{"Connection", "Upgrade, HTTP2-Settings"}, field{"Upgrade", "h2c"}, field{"HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"})
	}
	seen := make(map[string]bool)
	for i := 0; i < len(header); i++ {
		// A second User-Agent would be none of the client's to send.
		name := strings.ToLower(header[i].name)
		if seen[name] && (name == "user-agent" || name == "content-type" || name == "date") {
			header = append(header[:i], header[i+1:]...)
			i--
		}
		seen[name] = true
	}
	if len(c.body) > 0 && g.chance(80) {
		header = append(header, field{"Content-Type", pick(g, "application/json", "application/octet-stream", "text/csv; charset=utf-8")})
		if bytes.HasPrefix(c.body, []byte{0x1f, 0x8b}) {
			header = append(header, field{"Content-Encoding", "gzip"})
		}
	}
	return header
}

// answers are headers of an answer.
var answers = []field{
	{"Content-Type", "application/json;charset=utf-8"}, {"Content-Type", "text/html"}, {"Content-Type", ""}, {"Server", "cloudflare"}, {"Date", "Sat, 01 Jan 2000 00:00:00 GMT"}, {"Set-Cookie", "__cf_bm=x; path=/"}, {"Set-Cookie", "a=b"},
	{"X-HubSpot-RateLimit-Remaining", "109"}, {"X-HubSpot-Correlation-Id", "c"}, {"Location", "https://api.hubapi.com/other"}, {"Location", "/relative"}, {"ETag", `"x"`}, {"Vary", "origin"}, {"Vary", "Accept-Encoding"}, {"Via", "1.1 edge"}, {"Via", "1.1 Caddy"},
	{"Proxy-Status", `edge; error="x"`}, {"X-Empty", ""}, {"X-Latin", "caf\xe9"}, {"x_under.dot", "x"}, {"Cache-Control", "max-age=5"}, {"Retry-After", "3"}, {"WWW-Authenticate", "Bearer"}, {"Access-Control-Allow-Origin", "*"}, {"Access-Control-Expose-Headers", "x"}, {"Strict-Transport-Security", "max-age=1"}, {"Clear-Site-Data", "*"}, {"Service-Worker-Allowed", "/"}, {"Cache-Control", "private, no-store"}, {"Link", "</x>; rel=next"},
	{"Connection", "X-Hop"}, {"X-Hop", "x"}, {"Keep-Alive", "timeout=5"}, {"Alt-Svc", `h3=":443"`}, {"Pragma", "no-cache"}, {"X-Content-Type-Options", "nosniff"}, {"NEL", "{}"}, {"X-HubSpot-Portal", "1"}, {"Accept-Ranges", "bytes"}, {"Content-Disposition", "attachment"},
}

func (g generator) reply(c *transparencyCase) {
	c.status = pick(g, 200, 200, 200, 201, 202, 204, 206, 207, 299, 301, 302, 304, 307, 400, 401, 403, 404, 409, 414, 423, 429, 477, 500, 502, 503, 524, 599)
	if c.method == "HEAD" && c.status == 401 {
		c.status = 403 // a 401 without a category is tried again; see TestReplay
	}
	c.proto = pick(g, "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0")
	if c.refused {
		c.status = 417
	}
	for range g.IntN(8) {
		f := pick(g, answers...)
		once := f.name == "Content-Type" || f.name == "Date" || f.name == "Location" || f.name == "Server" || f.name == "X-HubSpot-Portal"
		if f.name == "X-HubSpot-Portal" {
			continue // it would be replaced; see TestPortalOfTheAnswerIsOurs
		}
		if !once || !has(c.answered, f.name) {
			c.answered = append(c.answered, f)
		}
	}
	if g.chance(5) {
		c.interim = []field{{"Link", "</style.css>; rel=preload"}, {"X-Hint", "1"}}
	}
	c.replied = pick(g, withLength, withLength, withLength, noBody, inChunks, inChunks, inChunksWithTrailers, toTheEnd)
	if c.proto == "HTTP/1.0" && (c.replied == inChunks || c.replied == inChunksWithTrailers) {
		c.replied = toTheEnd
	}
	if c.replied != noBody && !g.chance(10) {
		c.reply = g.bytes()
		if bytes.HasPrefix(c.reply, []byte{0x1f, 0x8b}) && !has(c.answered, "Content-Encoding") {
			c.answered = append(c.answered, field{"Content-Encoding", "gzip"})
		}
	}
	if c.status == 204 || c.status == 304 {
		c.replied, c.reply = noBody, nil
	}
	if c.replied == inChunksWithTrailers {
		c.after = []field{{"X-Sum", "9"}, {"X-Late", "l"}}
		if g.chance(50) {
			c.answered = append(c.answered, field{"Trailer", "X-Sum, X-Late"})
		}
	}
}

func has(fields []field, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return true
		}
	}
	return false
}

// head returns the request's head as it goes on the wire.
func (c *transparencyCase) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", c.method, c.target)
	for _, f := range c.header {
		fmt.Fprintf(&b, "%s:%s\r\n", f.name, f.value)
	}
	switch c.framing {
	case withLength:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(c.body))
	case inChunksWithTrailers:
		b.WriteString("Trailer: X-Checksum, X-Other\r\n")
		fallthrough
	case inChunks:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if c.expects {
		b.WriteString("Expect: 100-continue\r\n")
	}
	return b.String() + "\r\n"
}

// framed returns a body as it goes on the wire.
func framed(body []byte, how framing, trailer []field) string {
	if how != inChunks && how != inChunksWithTrailers {
		return string(body)
	}
	var b strings.Builder
	for part, size := body, 1; len(part) > 0; size = size*3 + 1 {
		n := min(size, len(part))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, part[:n])
		part = part[n:]
	}
	b.WriteString("0\r\n")
	for _, f := range trailer {
		fmt.Fprintf(&b, "%s\r\n", f)
	}
	return b.String() + "\r\n"
}

// send sends the request and reads the answer.
func (c *transparencyCase) send(client *wireClient) (*wireMessage, error) {
	if _, err := io.WriteString(client, c.head()); err != nil {
		return nil, err
	}
	body := framed(c.body, c.framing, c.trailer)
	if !c.expects {
		if _, err := io.WriteString(client, body); err != nil {
			return nil, err
		}
		return client.readAnswer(c.method)
	}
	head, err := readHead(client.r)
	if err != nil {
		return nil, err
	}
	if head.status() != 100 {
		return head, head.readBody(client.r, true)
	}
	if _, err := io.WriteString(client, body); err != nil {
		return nil, err
	}
	m, err := client.readAnswer(c.method)
	if err != nil {
		return nil, err
	}
	m.interim = append([]wireMessage{*head}, m.interim...)
	return m, nil
}

// answer plays the upstream.
func (c *transparencyCase) answer(w io.Writer, m *wireMessage, more func() error) error {
	if c.expects && m.first("Expect") == "100-continue" && !c.refused {
		if _, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	if !c.refused {
		if err := more(); err != nil {
			return err
		}
	}
	var b strings.Builder
	if c.interim != nil {
		b.WriteString("HTTP/1.1 103 Early Hints\r\n")
		for _, f := range c.interim {
			fmt.Fprintf(&b, "%s\r\n", f)
		}
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "%s %d Whatever\r\n", c.proto, c.status)
	for _, f := range c.answered {
		fmt.Fprintf(&b, "%s\r\n", f)
	}
	hangUp := c.refused || c.proto == "HTTP/1.0"
	switch {
	case c.status == 204 || c.status == 304:
	case c.replied == inChunks, c.replied == inChunksWithTrailers:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case c.replied == toTheEnd && c.method != "HEAD":
		hangUp = true
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(c.reply))
	}
	if hangUp && !has(c.answered, "Connection") {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	if c.method != "HEAD" {
		b.WriteString(framed(c.reply, c.replied, c.after))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if hangUp {
		return errHangUp
	}
	return nil
}

// describe shows a case without its bodies.
func (c *transparencyCase) describe() string {
	return fmt.Sprintf("%sbody %d bytes, framing %d; expects %v, refused %v\nanswer %s %d %v, body %d bytes, framing %d, trailers %v, interim %v",
		c.head(), len(c.body), c.framing, c.expects, c.refused, c.proto, c.status, c.answered, len(c.reply), c.replied, c.after, c.interim)
}
