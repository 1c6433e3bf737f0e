package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

// describesBody are the headers that would be wrong for an envelope.
var describesBody = []string{
	"Content-Length", "Content-Encoding", "Content-Type", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest",
	"Content-Range", "Accept-Ranges", "Etag", "Trailer",
}

// sniffed is how much of an answer is looked at to find out what it is.
const sniffed = 4 << 10

// envelop puts HubSpot's answer into an envelope, while it is passed on: JSON
// as it comes, text as a string in the charset that it declares, and anything
// else as base64, so that nothing is lost. An empty body stays empty. The
// trailers go, which are about another body.
func (g *guard) envelop(res *http.Response) *http.Response {
	out := *res
	out.Trailer = nil
	contentType := res.Header.Get("Content-Type")
	for _, name := range describesBody {
		delete(out.Header, name)
	}
	out.ContentLength = -1
	if res.Body == nil || res.Body == http.NoBody {
		out.ContentLength = 0
		return &out
	}
	head, err := readHead(res.Body)
	if err == nil {
		head, err = readRune(head, res.Body)
	}
	if len(head) == 0 {
		out.Body, out.ContentLength = unread(nil, res.Body, err), 0
		return &out
	}
	content, suffix := g.encode(contentType, head, unread(head, res.Body, err))
	out.Header.Set("Content-Type", "application/json")
	out.Body = &peekedBody{
		Reader: io.MultiReader(strings.NewReader(`{"data":`), content, strings.NewReader(suffix)),
		Closer: res.Body,
	}
	return &out
}

// readHead reads what there is at once, a byte at the least, of the beginning
// of a body. The error is nil at the end of it.
func readHead(body io.Reader) ([]byte, error) {
	head := make([]byte, sniffed)
	for {
		n, err := body.Read(head)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if n > 0 || err != nil {
			return head[:n], err
		}
		if n == 0 {
			// Either the end or nothing yet: one more reading tells.
			n, err = io.ReadFull(body, head[:1])
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return head[:n], err
		}
	}
}

// readRune reads on where the beginning of a body ends within what may be a
// character, so that it can be told from what is none.
func readRune(head []byte, body io.Reader) ([]byte, error) {
	for len(wholeRunes(head)) < len(head) {
		var next [1]byte
		n, err := io.ReadFull(body, next[:])
		head = append(head, next[:n]...)
		if errors.Is(err, io.EOF) {
			return head, nil
		}
		if err != nil {
			return head, err
		}
	}
	return head, nil
}

// encode makes JSON of a body, and returns what comes after it. A token in
// another charset than UTF-8 is not to be seen before it is decoded.
func (g *guard) encode(contentType string, head []byte, body io.Reader) (content io.Reader, suffix string) {
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = ""
	}
	charset, known := charsetOf(parameters["charset"])
	isJSON := strictbody.IsJSON(mediaType) || mediaType == "" && looksLikeJSON(head)
	switch {
	case !known, !isJSON && !isText(mediaType, parameters, charset, head):
		return &base64Reader{body: body}, `,"encoding":"base64"}`
	case charset != nil:
		body = g.masked(charset.NewDecoder().Reader(body))
	}
	if isJSON {
		return body, "}"
	}
	return &stringReader{body: body, decoded: charset != nil}, "}"
}

// charsetOf finds a charset. It is nil for UTF-8, which is the default of JSON
// and of what HubSpot sends; known is false for one that is not known here.
func charsetOf(name string) (charset encoding.Encoding, known bool) {
	switch strings.ToLower(name) {
	case "", "utf-8", "utf8", "us-ascii":
		return nil, true
	}
	charset, err := htmlindex.Get(name)
	return charset, err == nil
}

func looksLikeJSON(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && (head[0] == '{' || head[0] == '[')
}

// isText reports whether a body is text in a charset that is known. Where that
// is UTF-8, declared or not, the beginning has to be it.
func isText(mediaType string, parameters map[string]string, charset encoding.Encoding, head []byte) bool {
	if charset != nil {
		return true
	}
	_, declared := parameters["charset"]
	main, sub, _ := strings.Cut(mediaType, "/")
	text := declared || main == "text" || sub == "xml" || strings.HasSuffix(sub, "+xml") || sub == "javascript" || mediaType == ""
	return text && utf8.Valid(head) && bytes.IndexByte(head, 0) < 0
}

// wholeRunes cuts off what may be the beginning of a character.
func wholeRunes(text []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if c := text[len(text)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[len(text)-i:]) {
				return text[:len(text)-i]
			}
			break
		}
	}
	return text
}

// transformed are bytes that are made of others in parts.
type transformed struct {
	ready []byte
	err   error
}

// read gives out what is ready, and has more made when nothing is.
func (t *transformed) read(p []byte, more func() error) (int, error) {
	for len(t.ready) == 0 && t.err == nil {
		t.err = more()
	}
	n := copy(p, t.ready)
	t.ready = t.ready[n:]
	if len(t.ready) > 0 {
		return n, nil
	}
	return n, t.err
}

// errNotText breaks an answer off that is not the text that it began as, so
// that what is missing shows.
var errNotText = errors.New("the text of HubSpot's answer is not in the charset that it declares")

// stringReader makes a JSON string of a text in UTF-8.
type stringReader struct {
	body io.Reader
	// decoded is set for a text that came in another charset, in which
	// U+FFFD stands for what could not be read.
	decoded bool
	transformed
	begun  bool
	rest   int
	buffer [sniffed]byte
}

// Read implements [io.Reader].
func (r *stringReader) Read(p []byte) (int, error) { return r.read(p, r.more) }

func (r *stringReader) more() error {
	n, err := r.body.Read(r.buffer[r.rest:])
	text := r.buffer[:r.rest+n]
	whole := text
	if err == nil {
		whole = wholeRunes(text)
	}
	if !utf8.Valid(whole) || r.decoded && bytes.ContainsRune(whole, utf8.RuneError) {
		return errNotText
	}
	// Marshalling a string cannot fail.
	quoted, _ := json.Marshal(string(whole))
	quoted = quoted[1 : len(quoted)-1]
	if !r.begun {
		r.begun, quoted = true, append([]byte(`"`), quoted...)
	}
	if errors.Is(err, io.EOF) {
		quoted = append(quoted, '"')
	}
	r.rest = copy(r.buffer[:], text[len(whole):])
	r.ready = quoted
	return err
}

// base64Reader makes a JSON string of bytes.
type base64Reader struct {
	body io.Reader
	transformed
	begun  bool
	rest   int
	buffer [3 * 1024]byte
}

// Read implements [io.Reader].
func (r *base64Reader) Read(p []byte) (int, error) { return r.read(p, r.more) }

func (r *base64Reader) more() error {
	n, err := r.body.Read(r.buffer[r.rest:])
	data := r.buffer[:r.rest+n]
	whole := data[:len(data)/3*3]
	if errors.Is(err, io.EOF) {
		whole = data
	}
	var out []byte
	if !r.begun {
		r.begun, out = true, append(out, '"')
	}
	out = base64.StdEncoding.AppendEncode(out, whole)
	if errors.Is(err, io.EOF) {
		out = append(out, '"')
	}
	r.rest = copy(r.buffer[:], data[len(whole):])
	r.ready = out
	return err
}
