package audit

import (
	_ "embed"
	"strings"
	"sync"
)

//go:generate go run ./wordgen

// words are the words of HubSpot's paths, one in a line, after a comment that
// says how they are made.
//
//go:embed words.txt
var words string

var knownWords = sync.OnceValue(func() map[string]struct{} {
	known := make(map[string]struct{})
	for line := range strings.Lines(words) {
		if !strings.HasPrefix(line, "#") {
			known[strings.TrimSuffix(line, "\n")] = struct{}{}
		}
	}
	return known
})

const (
	// placeholder stands for a segment that is not a word of the API.
	placeholder = "{id}"
	// maxSegments is how many segments of a path are shown; HubSpot's own
	// have fewer.
	maxSegments = 16
)

// Template returns what of a path, as it is escaped in a request, may stand in
// the log: the words of HubSpot's API, versions such as v3 and 2026-09, and
// HubSpot's own object types such as 0-1, which are the same in all accounts.
// Any other segment becomes {id}, whatever it looks like: ids, e-mail
// addresses and values of properties are in paths, and so are the names of an
// account's custom objects (2-123, p123_cars) and properties. A word in
// another case, or with a character percent-encoded, is not one.
func Template(path string) string {
	return string(AppendTemplate(make([]byte, 0, min(len(path)+1, 128)), path))
}

// AppendTemplate appends what [Template] returns to b.
func AppendTemplate(b []byte, path string) []byte {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		if path == "" {
			return b
		}
		return append(b, placeholder...)
	}
	for range maxSegments {
		segment, after, more := strings.Cut(rest, "/")
		b = append(b, '/')
		if isWord(segment) {
			b = append(b, segment...)
		} else {
			b = append(b, placeholder...)
		}
		if !more {
			return b
		}
		rest = after
	}
	return append(b, "/…"...)
}

func isWord(segment string) bool {
	if segment == "" || isVersion(segment) || isObjectType(segment) {
		return true
	}
	_, known := knownWords()[segment]
	return known
}

// isVersion reports whether a segment is v1 to v99, or a date version as in
// 2026-09 or 2026-09-beta.
func isVersion(s string) bool {
	if number, ok := strings.CutPrefix(s, "v"); ok {
		return len(number) <= 2 && isNumber(number)
	}
	s = strings.TrimSuffix(s, "-beta")
	return len(s) == len("2026-09") && s[:2] == "20" && s[4] == '-' && isNumber(s[2:4]) && isNumber(s[5:])
}

// isObjectType reports whether a segment is the id of a type of HubSpot's own.
func isObjectType(s string) bool {
	number, ok := strings.CutPrefix(s, "0-")
	return ok && len(number) <= 3 && isNumber(number)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Method returns what of a method may stand in the log: one that HubSpot
// knows, or "other", because a caller can make up methods.
func Method(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}

// maxCorrelationID is longer than those of HubSpot, which are UUIDs.
const maxCorrelationID = 64

// CorrelationID returns a correlation id that came from outside if it may
// stand in the log, and nothing otherwise.
func CorrelationID(id string) string {
	if len(id) > maxCorrelationID {
		return ""
	}
	for _, c := range []byte(id) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
			return ""
		}
	}
	return id
}
