package relay

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
)

// Bounds of looking into an answer with a content coding.
const (
	// maxInspected is how much of it is held back, coded.
	maxInspected = 1 << 20
	// maxInspectedText is how much of it is looked through, decoded.
	maxInspectedText = 32 << 20
)

// openCoded looks through the beginning of a body with a content coding. If
// a token is there, the body goes on decoded, and openCoded reports that.
func (g *guard) openCoded(res *http.Response, coding string) (opened bool) {
	head, err := io.ReadAll(io.LimitReader(res.Body, maxInspected))
	res.Body = unread(head, res.Body, err)
	text, ok := decoderOf(coding, bytes.NewReader(head))
	if !ok {
		return false
	}
	found := 0
	scan := &maskingReader{inner: io.LimitReader(text, maxInspectedText), mask: &g.mask, found: func(n int) { found += n }}
	// Where the beginning ends within the coded data, decoding fails.
	_, _ = io.Copy(io.Discard, scan)
	if found == 0 {
		return false
	}
	text, ok = decoderOf(coding, res.Body)
	if !ok {
		return false
	}
	res.Body = &peekedBody{Reader: text, Closer: res.Body}
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
