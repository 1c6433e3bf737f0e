package access

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// compileName compiles a glob over the names of one kind in certificates. In it
// `*` matches within one label and `**` any run of characters; what stands for
// a whole label matches at least one character. Matching takes time linear in
// the name.
func compileName(kind sanKind, pattern string) *regexp.Regexp {
	if kind == sanDNS {
		pattern = fold(pattern)
	}
	var expression strings.Builder
	expression.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); {
		if pattern[i] != '*' {
			expression.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			i++
			continue
		}
		ends := labelEnds(kind, pattern[:i])
		some := "[^" + ends + "]"
		from := i
		for i < len(pattern) && pattern[i] == '*' {
			i++
		}
		if i-from > 1 {
			some = "."
		}
		quantifier := "*"
		if (from == 0 || strings.IndexByte(ends, pattern[from-1]) >= 0) && (i == len(pattern) || strings.IndexByte(ends, pattern[i]) >= 0) {
			quantifier = "+"
		}
		expression.WriteString(some + quantifier)
	}
	expression.WriteString(`\z`)
	return regexp.MustCompile(expression.String())
}

// labelEnds returns the characters that end a label of a name after what
// stands before it in a glob: in the authority of a URI and in the domain of
// an e-mail address labels are those of a DNS name, in the path of a URI they
// are segments.
func labelEnds(kind sanKind, before string) string {
	switch kind {
	case sanURI:
		_, rest, hierarchical := strings.Cut(before, "://")
		switch {
		case !hierarchical:
			return "/?#:"
		case !strings.ContainsAny(rest, "/?#"):
			return "/?#.:@"
		}
		return "/?#"
	case sanEmail:
		if !strings.Contains(before, "@") {
			return "@"
		}
		return "@."
	case sanIP:
		return ".:"
	}
	return "."
}

// strays reports whether a URI has segments that lead elsewhere: `.` and `..`,
// empty ones, and slashes or backslashes that are encoded, however often. Such
// a name is nobody's, whatever the glob (SPIFFE-ID, 2.2, forbids them as well).
// The root alone is no empty segment.
func strays(uri *url.URL) bool {
	path, rooted := strings.CutPrefix(uri.EscapedPath(), "/")
	if uri.Opaque != "" {
		path, rooted = uri.Opaque, true
	}
	if path == "" {
		return false
	}
	if !rooted {
		return true
	}
	slashes := strings.Count(path, "/")
	for decoded := decode(path, false); decoded != path; decoded = decode(path, false) {
		path = decoded
	}
	return strings.Count(path, "/") != slashes || strings.Contains(path, `\`) ||
		slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool {
			return segment == "" || segment == "." || segment == ".."
		})
}
