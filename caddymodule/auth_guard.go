package caddymodule

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
	maxAuthQuery  = 8 << 10
	maxAuthHeader = 32 << 10
)

// guardPublic refuses what the public endpoints do not take: more requests
// than one address may make, other methods than GET, and what guardShape
// refuses. HEAD is among them, because a HEAD must change nothing, and to
// begin or finish an install changes something.
func (a *Auth) guardPublic(w http.ResponseWriter, r *http.Request) *reply {
	if wait := a.limiter.take(clientAddress(r), time.Now()); wait > 0 {
		p := refusedRate.reply(nil)
		p.problem.RetryAfter = wait
		return p
	}
	if r.Method != http.MethodGet {
		p := refusedMethod.reply(nil)
		p.allow = http.MethodGet
		return p
	}
	return guardShape(w, r)
}

// guardShape refuses requests with a body, and those that are too large.
func guardShape(w http.ResponseWriter, r *http.Request) *reply {
	if hasBody(w, r) {
		return refusedBody.reply(nil)
	}
	return guardSize(r)
}

// guardSize refuses requests whose query or header is too large.
func guardSize(r *http.Request) *reply {
	switch {
	case len(r.URL.RawQuery) > maxAuthQuery:
		return refusedQuerySize.reply(nil)
	case headerSize(r.Header) > maxAuthHeader:
		return refusedHeaderSize.reply(nil)
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

// singleQuery reads the query of a request and reports whether it can be
// parsed and holds each of the named parameters once at most: two would be
// read in two ways.
func singleQuery(r *http.Request, names ...string) (url.Values, bool) {
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
