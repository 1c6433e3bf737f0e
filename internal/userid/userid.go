// Package userid has the identifiers by which a vendor knows its customers,
// and how a request names one.
package userid

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength is the longest identifier, in bytes.
const MaxLength = 1024

// Check refuses identifiers that stores and logs cannot tell apart. Its errors
// are meant for whoever gave the identifier, and do not repeat it.
func Check(user string) error {
	switch {
	case len(user) > MaxLength:
		return errors.New("the user identifier is longer than 1024 bytes")
	case !utf8.ValidString(user):
		return errors.New("the user identifier is not UTF-8; where a header cannot carry it, use the path prefix /as/{user}/, percent-encoded")
	case strings.ContainsFunc(user, unicode.IsControl):
		return errors.New("the user identifier holds a control character")
	}
	return nil
}

// Source says where a request names its user: one of the fields is set. The
// zero value names none. It is immutable and safe for concurrent use.
type Source struct {
	// Header is the canonical name of a header that holds nothing but the
	// user.
	Header string
	// Constant is the user of every request.
	Constant string
	// Lookup finds the user of a request in another way; empty is none.
	Lookup func(r *http.Request) string
}

// IsZero reports whether the source names no user at all.
func (s Source) IsZero() bool { return s.Header == "" && s.Constant == "" && s.Lookup == nil }

// errTwoUsers is a header that is there with different values.
var errTwoUsers = errors.New("the request names different users; send the header once")

// Find returns the user of a request, empty if it names none. A header is
// taken as it is. The error is meant for the caller.
func (s Source) Find(r *http.Request) (string, error) {
	switch {
	case s.Constant != "":
		return s.Constant, nil
	case s.Header != "":
		return s.fromHeader(r.Header)
	case s.Lookup != nil:
		return s.Lookup(r), nil
	}
	return "", nil
}

func (s Source) fromHeader(header http.Header) (string, error) {
	values := header[s.Header]
	if len(values) == 0 {
		return "", nil
	}
	for _, value := range values[1:] {
		if value != values[0] {
			return "", errTwoUsers
		}
	}
	return values[0], nil
}
