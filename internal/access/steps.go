package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The steps that servers take on a path. Each returns a path that is not
// longer than its argument and starts with a slash if that did.

// decode undoes percent-encoding once; a % that starts no encoding stays. With
// keepSlashes the encodings of / and \ stay as well.
func decode(path string, keepSlashes bool) string {
	i := strings.IndexByte(path, '%')
	if i < 0 {
		return path
	}
	out := make([]byte, 0, len(path))
	out = append(out, path[:i]...)
	for i < len(path) {
		if path[i] != '%' || !isEscape(path[i:]) {
			out = append(out, path[i])
			i++
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if keepSlashes && (c == '/' || c == '\\') {
			out = append(out, path[i:i+3]...)
		} else {
			out = append(out, c)
		}
		i += 3
	}
	return string(out)
}

func isEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// stripAuthority takes what follows // at the start for a host, as a parser of
// URI references does (RFC 3986, 4.2).
func stripAuthority(path string) string {
	rest, ok := strings.CutPrefix(path, "//")
	if !ok {
		return path
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

// stripParameters cuts each segment at its first semicolon (RFC 3986, 3.3).
func stripParameters(path string) string {
	if !strings.Contains(path, ";") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

func stripQuery(path string) string {
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		return path[:i]
	}
	return path
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}

// removeDotSegments does what RFC 3986, 5.2.4 says.
func removeDotSegments(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, segment)
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

func slashBackslashes(path string) string {
	return strings.ReplaceAll(path, `\`, "/")
}

// decodeOverlong reads ASCII characters that are encoded in more bytes than
// UTF-8 permits (RFC 3629, 10).
func decodeOverlong(path string) string {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); {
		c, size := overlong(path[i:])
		out = append(out, c)
		i += size
	}
	return string(out)
}

// overlong returns the first character of s and the bytes that it takes.
func overlong(s string) (c byte, size int) {
	for size := 2; size <= 6 && size <= len(s); size++ {
		// The lead byte has as many ones as there are bytes; all bits of
		// the value but the lowest seven are zero.
		lead := byte(0xff << (8 - size))
		if size == 2 {
			if s[0]&^1 == lead && isContinuation(s[1]) {
				return s[0]&1<<6 | s[1]&0x3f, size
			}
			continue
		}
		zeros := "\x80\x80\x80"[:size-3]
		if s[0] == lead && s[1:size-2] == zeros && s[size-2]&^1 == 0x80 && isContinuation(s[size-1]) {
			return s[size-2]&1<<6 | s[size-1]&0x3f, size
		}
	}
	return s[0], 1
}

// holdsControl reports whether a decoded path holds a control character. A
// byte that belongs to no character, not even to an overlong one, is read as
// ISO 8859-1, where 0x80 to 0x9f are controls.
func holdsControl(path string) bool {
	for i := 0; i < len(path); {
		r, size := utf8.DecodeRuneInString(path[i:])
		if r == utf8.RuneError && size == 1 {
			if _, size = overlong(path[i:]); size == 1 && path[i] < 0xa0 {
				return true
			}
		} else if unicode.IsControl(r) {
			return true
		}
		i += size
	}
	return false
}

func isContinuation(c byte) bool { return c&0xc0 == 0x80 }
