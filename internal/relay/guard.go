package caddymodule

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"mime"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// HubSpot has no reason to send an access token back. Should it do so all the
// same, in an error that quotes the request or by an endpoint that nobody
// knew, the caller must not get it: the token outlives the caller's key.

// Bounds of looking into an answer with a content coding.
const (
	// maxInspected is how much of it is held back, coded.
	maxInspected = 1 << 20
	// maxInspectedText is how much of it is looked through, decoded.
	maxInspectedText = 32 << 20
)

// Where a token was found, in the metric.
const (
	foundInHeader = "header"
	foundInBody   = "body"
)

// answerGuard keeps the access tokens of a call out of its answer.
type answerGuard struct {
	call *call
	mask tokenMask
	// suspicious is set for a path that smells of credentials.
	suspicious bool
	// correlationID is HubSpot's for the answer.
	correlationID string
	// reported is set once there is a line in the log.
	reported bool
	body     guardedBody
}

// credentialWords are what paths have in them that deal in credentials, by
// their first letter.
var credentialWords = [...][]string{
	'a': {"auth"}, 'c': {"cookie", "credential"}, 'i': {"introspect"}, 'j': {"jwt"}, 'k': {"key"},
	'p': {"passw"}, 's': {"secret", "session", "signin"}, 't': {"token"},
}

// smellsOfCredentials reports whether a path, in any case, has one of
// credentialWords in it.
func smellsOfCredentials(path string) bool {
	for i := range len(path) {
		letter := path[i] | 0x20
		if int(letter) >= len(credentialWords) {
			continue
		}
		for _, word := range credentialWords[letter] {
			if len(path)-i >= len(word) && path[i+1]|0x20 == word[1] && strings.EqualFold(path[i:i+len(word)], word) {
				return true
			}
		}
	}
	return false
}

// narrowCodings takes those codings out of Accept-Encoding that cannot be
// looked into here. The answer to a suspicious path is to be readable.
func narrowCodings(header http.Header) {
	values, ok := header["Accept-Encoding"]
	if !ok {
		return
	}
	var kept []string
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip", "deflate", "identity":
				kept = append(kept, strings.TrimSpace(item))
			}
		}
	}
	if len(kept) == 0 {
		kept = []string{"identity"}
	}
	header["Accept-Encoding"] = []string{strings.Join(kept, ", ")}
}

// scrub takes the tokens out of an answer, and has the body looked through
// while it is passed on.
func (g *answerGuard) scrub(res *http.Response) {
	g.scrubHeader(res.Header)
	if ids := res.Header["X-Hubspot-Correlation-Id"]; len(ids) > 0 {
		g.correlationID = ids[0]
	}
	if res.Body == nil || res.Body == http.NoBody || res.ContentLength == 0 || g.call.method == http.MethodHead {
		return
	}
	suspicious := g.suspicious || res.StatusCode >= http.StatusBadRequest
	coding, coded := contentCoding(res.Header)
	if coded && suspicious {
		coded = !g.openCoded(res, coding)
	}
	scanned := !coded && (suspicious || isJSONAnswer(res.Header))
	if !scanned && res.ContentLength >= 0 {
		return
	}
	g.body = guardedBody{Closer: res.Body, reader: res.Body, guard: g, answer: res}
	if scanned {
		g.body.scrubbed = scrubbedReader{inner: res.Body, mask: &g.mask, found: g}
		g.body.reader = &g.body.scrubbed
	}
	res.Body = &g.body
}

// scrubHeader removes the fields of a header, or empties those of a trailer,
// that hold a token.
func (g *answerGuard) scrubHeader(header http.Header) {
	for name, values := range header {
		for _, value := range values {
			if g.mask.inText(value) {
				g.found(foundInHeader, 1)
				delete(header, name)
				break
			}
		}
	}
}

// scrubTrailer does the same to trailers. Their names stay: they were
// announced.
func (g *answerGuard) scrubTrailer(trailer http.Header) {
	for name, values := range trailer {
		for _, value := range values {
			if g.mask.inText(value) {
				g.found(foundInHeader, 1)
				trailer[name] = nil
				break
			}
		}
	}
}

// foundInBody implements [bodyCounter].
func (g *answerGuard) foundInBody(n int) { g.found(foundInBody, n) }

// found counts tokens that were removed, and writes one line for the call.
func (g *answerGuard) found(where string, n int) {
	c := g.call
	c.proxy.app.metrics.tokensRemoved.WithLabelValues(c.proxy.hub.name, where).Add(float64(n))
	if g.reported {
		return
	}
	g.reported = true
	c.proxy.logger.Error("HubSpot sent the access token back; it was removed from the answer",
		zap.String("app", c.proxy.hub.name),
		zap.String("caller", c.callerName()),
		zap.String("user_tag", c.proxy.hub.manager.Tag(context.Background(), c.user)),
		zap.Int64("hub_id", c.token.HubID),
		zap.String("where", where),
		zap.String("correlation_id", g.correlationID),
	)
}

// openCoded looks through the beginning of a body with a content coding. If
// a token is there, the body goes on decoded, and openCoded reports that.
func (g *answerGuard) openCoded(res *http.Response, coding string) (opened bool) {
	head, err := io.ReadAll(io.LimitReader(res.Body, maxInspected))
	whole := func() io.Reader {
		return io.MultiReader(bytes.NewReader(head), &failedReader{res.Body, err})
	}
	closer := res.Body
	defer func() {
		if !opened {
			res.Body = &peekedBody{Reader: whole(), Closer: closer}
		}
	}()
	text, ok := decoderOf(coding, bytes.NewReader(head))
	if !ok {
		return false
	}
	var found bodyCount
	scan := &scrubbedReader{inner: io.LimitReader(text, maxInspectedText), mask: &g.mask, found: &found}
	// Where the beginning ends within the coded data, decoding fails.
	_, _ = io.Copy(io.Discard, scan)
	if found == 0 {
		return false
	}
	text, ok = decoderOf(coding, whole())
	if !ok {
		return false
	}
	res.Body = &peekedBody{Reader: text, Closer: closer}
	for _, name := range describesCoding {
		delete(res.Header, name)
	}
	res.ContentLength = -1
	return true
}

// describesCoding are the headers that are wrong for a body once it is
// decoded.
var describesCoding = [...]string{
	"Content-Length", "Content-Encoding", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest",
	"Content-Range", "Accept-Ranges", "Etag",
}

// contentCoding returns the content coding of an answer, if there is one.
func contentCoding(header http.Header) (coding string, coded bool) {
	coding = strings.Join(header["Content-Encoding"], ",")
	return coding, coding != "" && !strings.EqualFold(strings.TrimSpace(coding), "identity")
}

// decoderOf undoes a content coding (RFC 9110, 8.4.1). ok is false for one
// that is not known here, and for data that is not in it.
func decoderOf(coding string, data io.Reader) (decoder io.Reader, ok bool) {
	var err error
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "gzip", "x-gzip":
		decoder, err = gzip.NewReader(data)
		return decoder, err == nil
	case "deflate":
		// Servers send it with the zlib header, as the RFC says, or without.
		buffered := bufio.NewReader(data)
		if head, err := buffered.Peek(2); err != nil || head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
			return flate.NewReader(buffered), true
		}
		decoder, err = zlib.NewReader(buffered)
		return decoder, err == nil
	}
	return nil, false
}

// isJSONAnswer reports whether a header says that the body is JSON.
func isJSONAnswer(header http.Header) bool {
	values := header["Content-Type"]
	if len(values) == 0 {
		return false
	}
	name, _, _ := strings.Cut(values[0], ";")
	if strings.EqualFold(strings.TrimSpace(name), "application/json") {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(values[0])
	return err == nil && isJSONType(mediaType)
}

// guardedBody is a body of an answer that is looked through, or whose trailers
// are.
type guardedBody struct {
	io.Closer
	reader   io.Reader
	scrubbed scrubbedReader
	guard    *answerGuard
	answer   *http.Response
}

// Read implements [io.Reader].
func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.reader.Read(p)
	if err == io.EOF {
		b.guard.scrubTrailer(b.answer.Trailer)
	}
	return n, err
}
