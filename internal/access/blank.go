package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What servers overlook in a path: white space at the ends of a segment, and
// characters that are not seen.

// trimSegments takes white space off both ends of each segment, as programs do
// that trim what they have cut out of a path.
func trimSegments(path string) string {
	if !blankAtEnds(path) {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = strings.TrimFunc(segment, isBlank)
	}
	return strings.Join(segments, "/")
}

// blankAtEnds reports whether a segment begins or ends with white space.
func blankAtEnds(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.TrimFunc(segment, isBlank) != segment {
			return true
		}
	}
	return false
}

// isBlank reports whether r is white space (Unicode White_Space), or the plus
// sign, which decoders of forms take for a space: java.net.URLDecoder is one,
// and is often used for paths.
func isBlank(r rune) bool { return r == '+' || unicode.IsSpace(r) }

// dropIgnorable leaves out the characters that are not seen and that
// comparisons of text pass over, such as the soft hyphen, zero-width
// characters, the byte order mark and variation selectors. They are those with
// Default_Ignorable_Code_Point (Unicode Standard, 5.21), and the few other
// format characters. Bytes that are not UTF-8 stay.
func dropIgnorable(path string) string {
	if !strings.ContainsFunc(path, isIgnorable) {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); {
		r, size := utf8.DecodeRuneInString(path[i:])
		if !isIgnorable(r) {
			out = append(out, path[i:i+size]...)
		}
		i += size
	}
	return string(out)
}

func isIgnorable(r rune) bool {
	return r >= utf8.RuneSelf &&
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// sharpS spells out the one letter whose upper case is two letters of ASCII
// (Unicode SpecialCasing.txt) and that NFKC leaves alone: a server that
// compares in upper case takes /acceß for /access.
var sharpS = strings.NewReplacer("ß", "ss", "ẞ", "ss")

// dashes makes hyphens of what servers take for one when they turn text into a
// character set that has no other: Windows' best fit does so.
var dashes = strings.NewReplacer("\u00ad", "-", "\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2014", "-", "\u2015", "-", "\u2212", "-")

// softHyphen8859 is the soft hyphen in ISO 8859-1, where it is no UTF-8.
const softHyphen8859 = "\xad"
