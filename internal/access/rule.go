package access

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// knownMethods are the methods of RFC 9110 section 9 and RFC 5789.
var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// Rule is one allow or deny rule of a caller: a set of methods and a glob over
// paths. The zero value matches no request.
type Rule struct {
	methods    []string
	everything bool
	path       Glob
}

// ParseRule makes a rule of its two arguments in the configuration: methods,
// separated by commas, or `*` for every method, and a glob over the decoded
// path without the query. It refuses what HTTP does not know and globs that
// can never match a path.
func ParseRule(methods, glob string) (Rule, error) {
	list, err := parseMethods(methods)
	if err != nil {
		return Rule{}, err
	}
	path, err := compilePathGlob(glob)
	if err != nil {
		return Rule{}, err
	}
	return Rule{methods: list, everything: list == nil, path: path}, nil
}

// ParseRuleText is ParseRule for a rule in one text, as String returns it:
// methods, a space and a path glob.
func ParseRuleText(text string) (Rule, error) {
	methods, glob, ok := strings.Cut(text, " ")
	if !ok {
		return Rule{}, fmt.Errorf("%q: give methods and a path, as in GET,POST /crm/*", text)
	}
	return ParseRule(methods, glob)
}

// String returns the rule as it is written in the configuration.
func (r Rule) String() string {
	methods := "*"
	if !r.everything {
		methods = strings.Join(r.methods, ",")
	}
	return methods + " " + r.path.String()
}

// IsZero reports whether the rule is the zero value, which no ParseRule
// returns.
func (r Rule) IsZero() bool { return r.path.pattern == "" }

// hasMethod compares exactly: methods are case-sensitive (RFC 9110, 9.1).
func (r Rule) hasMethod(method string) bool {
	return r.everything || slices.Contains(r.methods, method)
}

// parseMethods returns nil for every method.
func parseMethods(methods string) ([]string, error) {
	if strings.TrimSpace(methods) == "*" {
		return nil, nil
	}
	var list []string
	for method := range strings.SplitSeq(methods, ",") {
		method = strings.TrimSpace(method)
		if err := checkMethod(method); err != nil {
			return nil, err
		}
		if slices.Contains(list, method) {
			return nil, fmt.Errorf("method %s is given twice", method)
		}
		list = append(list, method)
	}
	return list, nil
}

func checkMethod(method string) error {
	switch {
	case method == "":
		return errors.New("an empty method; write methods as GET,POST, or * for every method")
	case method == "*":
		return errors.New("* stands for every method already; write it alone")
	case slices.Contains(knownMethods, method):
		return nil
	case slices.Contains(knownMethods, strings.ToUpper(method)):
		return fmt.Errorf("method %q must be in upper case: %s", method, strings.ToUpper(method))
	}
	return fmt.Errorf("%q is not an HTTP method; known are %s, and * for every method",
		method, strings.Join(knownMethods, ", "))
}

var percentEscape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// compilePathGlob compiles a glob over paths. Each path is compared in all its
// readings, so a glob for one odd spelling could match some reading at most,
// and a request that only some readings match is refused.
func compilePathGlob(glob string) (Glob, error) {
	g, err := CompileGlob(glob)
	if err != nil {
		return Glob{}, err
	}
	segments := strings.Split(glob, "/")
	switch {
	case glob[0] != '/' && glob[0] != '*':
		err = errors.New("a path starts with /, so the glob must start with / or *")
	case strings.ContainsAny(glob, "?#"):
		err = errors.New("the query is not compared; end the glob before ? or #")
	case percentEscape.MatchString(glob):
		err = errors.New("paths are compared decoded; write the character itself instead of its percent-encoding")
	case strings.Contains(glob, ";"):
		err = errors.New("parameters after ; are taken off a path before it is compared; leave them out")
	case strings.Contains(glob, `\`):
		err = errors.New(`a backslash never matches; write /`)
	case strings.Contains(glob, "//"):
		err = errors.New("// never matches; write a single /")
	case blankAtEnds(glob):
		err = errors.New("white space and + at the ends of a segment never match; leave them out")
	case strings.ContainsFunc(glob, isIgnorable):
		err = errors.New("it holds a character that is not seen, and that never matches; leave it out")
	case slices.Contains(segments, ".") || slices.Contains(segments, ".."):
		err = errors.New("the segments . and .. never match; write the path that is meant")
	case trimDots(glob) != glob:
		err = errors.New("a dot at the end of a segment never matches; leave it out")
	}
	if err != nil {
		return Glob{}, fmt.Errorf("path glob %q: %w", glob, err)
	}
	return g, nil
}
