package access

import (
	"cmp"
	"strings"
)

// maxDots is the largest number of dots in the last segment of a path that a
// policy has to regard. Names of files have two or three.
const maxDots = 16

// lastSegment returns where in a path its last segment begins, not counting
// slashes at the end.
func lastSegment(path string) int {
	return strings.LastIndexByte(strings.TrimRight(path, "/"), '/') + 1
}

// cutExtension cuts a path at the last dot of its last segment, which is at
// start, and takes off the white space before it, or the slash. It is to be
// applied again and again: Spring's suffix patterns let all that follows any
// dot of the last segment pass for an extension (PatternsRequestCondition,
// useSuffixPatternMatch; on by default before Spring 5.3), Jersey's
// UriConnegFilter every suffix that it is told, and other servers the usual
// .json, .xml and .html. ok is false if there is no dot.
func cutExtension(path string, start int) (cut string, ok bool) {
	if len(path) < start {
		return "", false
	}
	i := strings.LastIndexByte(path[start:], '.')
	if i < 0 {
		return "", false
	}
	cut = strings.TrimRightFunc(path[:start+i], isBlank)
	if len(cut) == start {
		cut = strings.TrimRight(cut, "/")
	}
	return cmp.Or(cut, "/"), true
}

// trimDots takes dots off the end of each segment, and white space before
// them, as Windows does with the names of files. What nothing is left of goes.
func trimDots(path string) string {
	if !strings.Contains(path, "./") && !strings.HasSuffix(path, ".") {
		return path
	}
	segments := strings.Split(path, "/")
	kept := segments[:1] // what is before the slash at the start
	for i, segment := range segments[1:] {
		segment = strings.TrimRightFunc(segment, func(r rune) bool { return r == '.' || isBlank(r) })
		if segment != "" || i == len(segments)-2 {
			kept = append(kept, segment)
		}
	}
	return strings.Join(kept, "/")
}
