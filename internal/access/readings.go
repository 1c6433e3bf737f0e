package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of the work on one path that is not plain. Odd paths of real APIs
// have a handful of readings and some hundred bytes.
const (
	maxReadings  = 128
	maxOddLength = 4 << 10
)

// Errors of [Readings], beside [ErrAmbiguous]. They all make a bad request (400).
var (
	// ErrControlCharacter means that a path holds a control character, as
	// it is or percent-encoded, also more than once, or a byte that is one
	// in ISO 8859-1 and no part of a character in UTF-8.
	ErrControlCharacter = errors.New("the path holds a control character")
	// ErrBrokenPath means that a text is not the path of a URL: it does
	// not start with a slash, or has a % without two hex digits after it.
	ErrBrokenPath = errors.New("the path is malformed")
)

// Readings returns every way in which servers read a request path, in a
// stable order that starts with the plain one, percent-decoded once. The
// argument is the path as it goes up: escaped, without the query; empty means
// the root. Servers differ in whether and in which order they
//
//   - decode percent-encodings, and how often, and whether %2F and %5C are
//     among them,
//   - remove dot segments, merge slashes, take a backslash for a slash,
//   - cut parameters after `;`, or a query after an encoded ? or #,
//   - take the first segment after `//` for a host,
//   - accept overlong UTF-8, or drop bytes that are not UTF-8,
//   - take compatible characters for one another, such as fullwidth letters
//     for plain ones (Unicode NFKC), or ß for ss,
//   - trim white space, or a + for it, from the ends of segments,
//   - pass over characters that are not seen, such as soft hyphens, or take
//     those and other dashes for a hyphen,
//
// and the result is what can be reached by any sequence of these. Not among
// them is what plain paths have as well, the case, extensions such as .json,
// and dots at the ends of segments: [Blocked] and [Caller.Check] see to it.
//
// A plain path costs no allocation where the result does not escape. The
// errors are [ErrControlCharacter], [ErrBrokenPath], and [ErrAmbiguous] for a
// path that is not plain and has too many readings or more than 4 KiB.
func Readings(escapedPath string) ([]string, error) {
	// Small enough to be inlined, so that the slice can stay on the
	// caller's stack.
	return AppendReadings(make([]string, 0, 1), escapedPath)
}

// AppendReadings is [Readings] for callers who have a slice for the result,
// which has to be empty.
func AppendReadings(dst []string, escapedPath string) ([]string, error) {
	if isPlain(escapedPath) {
		return append(dst, escapedPath), nil
	}
	return oddReadings(escapedPath)
}

// isPlain reports whether a path has one reading only, itself.
func isPlain(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := 1; i < len(path); i++ {
		switch byteKinds[path[i]] {
		case byteOdd:
			return false
		case byteAtEnds:
			if path[i-1] == '/' || path[i] == '/' && path[i-1] == '+' {
				return false
			}
		}
	}
	return path[len(path)-1] != '+'
}

// Kinds of bytes in a path: most are only themselves, some are odd at the ends
// of a segment, and some anywhere.
const (
	bytePlain = iota
	byteAtEnds
	byteOdd
)

var byteKinds = func() (kinds [256]byte) {
	for c := range kinds {
		switch {
		case c == '/' || c == '.' || c == '+':
			kinds[c] = byteAtEnds
		case c <= ' ' || c > '~' || strings.IndexByte(`%;\?#`, byte(c)) >= 0:
			kinds[c] = byteOdd
		}
	}
	return kinds
}()

func oddReadings(escapedPath string) ([]string, error) {
	if escapedPath == "" {
		return []string{"/"}, nil
	}
	if len(escapedPath) > maxOddLength {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrAmbiguous, maxOddLength)
	}
	if err := checkEscaped(escapedPath); err != nil {
		return nil, err
	}
	r := reader{seen: make(map[form]bool)}
	r.add(form{path: decode(escapedPath, false), decoded: true})
	r.add(form{path: escapedPath})
	for i := 0; i < len(r.forms) && r.err == nil; i++ {
		r.expand(r.forms[i])
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.readings, nil
}

func checkEscaped(path string) error {
	if path[0] != '/' {
		return fmt.Errorf("%w: it must start with /", ErrBrokenPath)
	}
	for i := range len(path) {
		switch {
		case path[i] < ' ' || path[i] == 0x7f:
			return ErrControlCharacter
		case path[i] == '%' && !isEscape(path[i:]):
			return fmt.Errorf("%w: a %% must be followed by two hex digits", ErrBrokenPath)
		}
	}
	return nil
}

// form is a path on its way through a server.
type form struct {
	path string
	// decoded is set once it went through a percent-decoder. Only then it
	// is a reading.
	decoded bool
}

// reader collects the forms that can be reached from a path.
type reader struct {
	forms    []form
	seen     map[form]bool
	readings []string
	err      error
}

func (r *reader) add(f form) {
	if r.err != nil || r.seen[f] {
		return
	}
	r.seen[f] = true
	r.forms = append(r.forms, f)
	if !f.decoded {
		return
	}
	if holdsControl(f.path) {
		r.err = ErrControlCharacter
		return
	}
	r.readings = append(r.readings, f.path)
	if len(r.readings) > maxReadings {
		r.err = fmt.Errorf("%w: it has more than %d readings", ErrAmbiguous, maxReadings)
	}
}

func (r *reader) expand(f form) {
	for _, step := range [...]func(string) string{
		stripAuthority, stripParameters, mergeSlashes, removeDotSegments, slashBackslashes, trimSegments,
	} {
		r.add(form{path: step(f.path), decoded: f.decoded})
	}
	r.add(form{path: decode(f.path, false), decoded: true})
	r.add(form{path: decode(f.path, true), decoded: true})
	if !f.decoded {
		return
	}
	r.add(form{path: stripQuery(f.path), decoded: true})
	r.add(form{path: norm.NFKC.String(f.path), decoded: true})
	r.add(form{path: sharpS.Replace(f.path), decoded: true})
	r.add(form{path: dropIgnorable(f.path), decoded: true})
	r.add(form{path: dashes.Replace(f.path), decoded: true})
	if !utf8.ValidString(f.path) {
		r.add(form{path: decodeOverlong(f.path), decoded: true})
		r.add(form{path: strings.ToValidUTF8(f.path, ""), decoded: true})
		r.add(form{path: strings.ReplaceAll(f.path, softHyphen8859, "-"), decoded: true})
	}
}
