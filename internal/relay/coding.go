package relay

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"math"
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

// openCoded looks through the beginning of a body with content codings. If a
// token is there, the body goes on decoded, as far as its codings are known.
func (g *guard) openCoded(res *http.Response, codings []string) {
	head, err := io.ReadAll(io.LimitReader(res.Body, maxInspected))
	res.Body = unread(head, res.Body, err)
	text, rest := decode(codings, bytes.NewReader(head), maxInspected)
	if len(rest) == len(codings) {
		return
	}
	found := 0
	scan := &maskingReader{inner: io.LimitReader(text, maxInspectedText), mask: &g.mask, found: func(n int) { found += n }}
	// Where the beginning ends within the coded data, decoding fails.
	_, _ = io.Copy(io.Discard, scan)
	if found == 0 {
		return
	}
	text, rest = decode(codings, res.Body, math.MaxInt64)
	res.Body = &peekedBody{Reader: text, Closer: res.Body}
	for _, name := range describesCoding {
		delete(res.Header, name)
	}
	if len(rest) > 0 {
		res.Header["Content-Encoding"] = []string{strings.Join(rest, ", ")}
	}
	res.ContentLength = -1
}

// describesCoding are the headers that are wrong for a body once it is
// decoded.
var describesCoding = [...]string{
	"Content-Length", "Content-Encoding", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest",
	"Content-Range", "Accept-Ranges", "Etag",
}

// maxCodings is how many codings on top of each other are undone. More than one
// is hardly ever seen, and each may blow up what the next has to look through.
const maxCodings = 2

// contentCodings returns the content codings of an answer in the order in which
// they were applied, in lower case (RFC 9110, 8.4). What stands for none is left
// out.
func contentCodings(header http.Header) (codings []string) {
	for _, value := range header["Content-Encoding"] {
		for item := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(item, ";")
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
				codings = append(codings, name)
			}
		}
	}
	return codings
}

func isKnownCoding(name string) bool { return name == "gzip" || name == "x-gzip" || name == "deflate" }

// decode undoes content codings, the last one first, as long as they are known
// here and the data is in them. rest are those that text still has. No more than
// most bytes are taken from one coding to the next.
func decode(codings []string, data io.Reader, most int64) (text io.Reader, rest []string) {
	if len(codings) > maxCodings {
		return data, codings
	}
	text, rest = data, codings
	for len(rest) > 0 {
		var ok bool
		if text, ok = decoderOf(rest[len(rest)-1], io.LimitReader(text, most)); !ok {
			break
		}
		rest = rest[:len(rest)-1]
	}
	return text, rest
}

// decoderOf undoes a content coding (RFC 9110, 8.4.1). ok is false for one
// that is not known here, and for data that is not in it; the reader is that of
// the data as it is then.
func decoderOf(coding string, data io.Reader) (decoder io.Reader, ok bool) {
	if !isKnownCoding(coding) {
		return data, false
	}
	buffered := bufio.NewReader(data)
	head, err := buffered.Peek(2)
	switch {
	case coding != "deflate":
		if err != nil || head[0] != 0x1f || head[1] != 0x8b {
			return buffered, false
		}
		decoder, err = gzip.NewReader(buffered)
	case err != nil || head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0:
		// Servers send it with the zlib header, as the RFC says, or without.
		return flate.NewReader(buffered), true
	default:
		decoder, err = zlib.NewReader(buffered)
	}
	if err != nil {
		return buffered, false
	}
	return decoder, true
}
