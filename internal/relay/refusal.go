package relay

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// maxPeek is how much of a refusal is read to find out what it means.
const maxPeek = 16 << 10

// holdBody takes the body of an answer into memory, if it is no longer than
// maxPeek, and lets its connection go. It returns the body, or its beginning.
func holdBody(res *http.Response) []byte {
	head, err := io.ReadAll(io.LimitReader(res.Body, maxPeek))
	if err == nil && len(head) < maxPeek {
		_ = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(head))
		return head
	}
	res.Body = unread(head, res.Body, err)
	return head
}

// refusesToken reports whether a 401 is about the access token. One that
// cannot be read, because it answers a HEAD or is in an encoding that only
// the caller knows, counts: the guard against refreshing too often is
// elsewhere. The body of the answer is as it was afterwards.
func refusesToken(method string, res *http.Response) bool {
	if method == http.MethodHead {
		return true
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxPeek))
	res.Body = unread(head, res.Body, err)
	text, ok := decodeContent(res.Header, head)
	if !ok {
		return true
	}
	var answer struct {
		Category string `json:"category"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return false
	}
	return answer.Category == "EXPIRED_AUTHENTICATION" || answer.Category == "INVALID_AUTHENTICATION"
}

// decodeContent undoes the content codings of an answer's beginning, as far as
// maxPeek allows; ok is false for those that are not known here.
func decodeContent(header http.Header, data []byte) (text []byte, ok bool) {
	codings := contentCodings(header)
	if len(codings) == 0 {
		return data, true
	}
	decoder, rest := decode(codings, bytes.NewReader(data), maxPeek)
	if len(rest) > 0 {
		return nil, isKnownCoding(rest[len(rest)-1])
	}
	text, _ = io.ReadAll(io.LimitReader(decoder, maxPeek))
	return text, true
}
