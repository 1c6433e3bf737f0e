package sandbox

import (
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"slices"
)

// echoPath is the prefix of the sandbox's echo, which shows a proxy's author
// what of a request arrived. HubSpot has nothing like it.
const echoPath = "/_sandbox/echo"

// Echo is the body of the echo's answers: the request as Go's net/http has
// parsed it. Nothing is left out or masked.
type Echo struct {
	Method string `json:"method"`
	// RequestURI is the request target as it stood in the request line.
	RequestURI string `json:"requestURI"`
	Proto      string `json:"proto"`
	Host       string `json:"host"`
	// Headers and Trailers are sorted by name, in Go's canonical form; the
	// values of one name are in the order of their arrival.
	Headers  []NameValue `json:"headers"`
	Trailers []NameValue `json:"trailers"`
	// TransferEncoding is empty or chunked.
	TransferEncoding []string `json:"transferEncoding"`
	// ContentLength is -1 if it was not said.
	ContentLength int64 `json:"contentLength"`
	// Body is in base64.
	Body string `json:"body"`
}

// NameValue is one header line.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// echo answers any method, needs no token and costs no quota. Web pages of
// other sites cannot read the answer: it carries no CORS headers.
func (w *world) echo(r *http.Request) reply {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return sandboxError(http.StatusBadRequest, "The request body could not be read to its end, or is larger than 32 MiB.")
	}
	return jsonReply(http.StatusOK, Echo{
		Method: r.Method, RequestURI: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Headers: nameValues(r.Header), Trailers: nameValues(r.Trailer),
		TransferEncoding: append([]string{}, r.TransferEncoding...),
		ContentLength:    r.ContentLength,
		Body:             base64.StdEncoding.EncodeToString(body),
	}).with("Cache-Control", "no-store")
}

func nameValues(h http.Header) []NameValue {
	lines := make([]NameValue, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			lines = append(lines, NameValue{Name: name, Value: value})
		}
	}
	return lines
}
