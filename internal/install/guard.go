package install

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// What is read of a request. HubSpot's redirects hold a state of at most
// 4 KiB, a code, and in one flow an address of its own.
const (
	maxQuery  = 8 << 10
	maxHeader = 32 << 10
)

// guard refuses what the endpoints for browsers do not take: more requests
// than one address may make, other methods than GET, and what CheckShape
// refuses. HEAD is among them, because a HEAD must change nothing, and to
// begin or finish an install changes something.
func (v *visit) guard() error {
	if wait := v.limiter.take(v.client, time.Now()); wait > 0 {
		f := refusedRate.because(nil)
		f.problem.RetryAfter = wait
		return f
	}
	if v.r.Method != http.MethodGet {
		return refusedMethod.because(nil)
	}
	return CheckShape(v.w, v.r)
}

// CheckShape refuses requests with a body, and those that [CheckSize] refuses.
// The error wraps an [*apierror.Error].
func CheckShape(w http.ResponseWriter, r *http.Request) error {
	if hasBody(w, r) {
		return refusedBody.because(nil)
	}
	return CheckSize(r)
}

// CheckSize refuses requests whose query or header is too large. The error
// wraps an [*apierror.Error].
func CheckSize(r *http.Request) error {
	switch {
	case len(r.URL.RawQuery) > maxQuery:
		return refusedQuerySize.because(nil)
	case headerSize(r.Header) > maxHeader:
		return refusedHeaderSize.because(nil)
	}
	return nil
}

// bodyPatience is how long a client may take to show that there is no body.
const bodyPatience = 2 * time.Second

// hasBody reports whether a request has a body. HTTP/3 requests without one
// mostly do not say so, nor need those of HTTP/2, so there it takes a look.
func hasBody(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength > 0
	}
	if r.ProtoMajor < 2 {
		return true
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyPatience)); err == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	_, err := io.ReadFull(r.Body, make([]byte, 1))
	return !errors.Is(err, io.EOF)
}

func headerSize(header http.Header) int {
	size := 0
	for name, values := range header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return size
}

// SingleQuery reads the query of a request. ok is false if it cannot be parsed
// or holds one of the named parameters more than once: two would be read in
// two ways.
func SingleQuery(r *http.Request, names ...string) (query url.Values, ok bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false
	}
	for _, name := range names {
		if len(query[name]) > 1 {
			return nil, false
		}
	}
	return query, true
}
