package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Glob is a compiled pattern in which `*` matches any run of characters, `/`
// included and the empty run too; every other character stands for itself.
// Matching takes time linear in the text. The zero value matches the empty
// string only.
type Glob struct {
	pattern string
	exact   parts
	folded  parts
}

// parts is a pattern cut at its asterisks.
type parts struct {
	prefix string
	middle []string
	suffix string
	// star is false for a pattern without an asterisk; it is all prefix then.
	star bool
}

// CompileGlob compiles pattern. It refuses what can never match or cannot be
// meant: an empty pattern, control characters and broken UTF-8.
func CompileGlob(pattern string) (Glob, error) {
	switch {
	case pattern == "":
		return Glob{}, errors.New("a glob must not be empty; * matches everything")
	case !utf8.ValidString(pattern):
		return Glob{}, fmt.Errorf("glob %q is not valid UTF-8", pattern)
	case strings.ContainsFunc(pattern, unicode.IsControl):
		return Glob{}, fmt.Errorf("glob %q holds a control character and can never match", pattern)
	}
	return Glob{pattern: pattern, exact: cut(pattern), folded: cut(fold(pattern))}, nil
}

func cut(pattern string) parts {
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return parts{prefix: pattern}
	}
	p := parts{prefix: pieces[0], suffix: pieces[len(pieces)-1], star: true}
	for _, piece := range pieces[1 : len(pieces)-1] {
		if piece != "" {
			p.middle = append(p.middle, piece)
		}
	}
	return p
}

// String returns the pattern as it was written.
func (g Glob) String() string { return g.pattern }

// Match reports whether the whole of s matches, byte for byte.
func (g Glob) Match(s string) bool { return g.exact.match(s) }

// MatchFold reports whether the whole of s matches without regard to case
// (Unicode simple case folding).
func (g Glob) MatchFold(s string) bool { return g.folded.match(fold(s)) }

// matchFolded is MatchFold for a text that went through fold already.
func (g Glob) matchFolded(folded string) bool { return g.folded.match(folded) }

// match takes the leftmost place for each middle part. No other choice can
// succeed where that one fails, so there is nothing to try again.
func (p parts) match(s string) bool {
	if !p.star {
		return s == p.prefix
	}
	if len(s) < len(p.prefix)+len(p.suffix) || !strings.HasPrefix(s, p.prefix) || !strings.HasSuffix(s, p.suffix) {
		return false
	}
	s = s[len(p.prefix) : len(s)-len(p.suffix)]
	for _, part := range p.middle {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// compileGlobs compiles a list of a caller's setting. An empty list means
// everything.
func compileGlobs(setting string, patterns []string, check func(string) error) ([]Glob, error) {
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	globs := make([]Glob, 0, len(patterns))
	seen := make(map[string]bool, len(patterns))
	for _, pattern := range patterns {
		g, err := CompileGlob(pattern)
		if err == nil {
			err = check(pattern)
		}
		if err == nil && seen[pattern] {
			err = fmt.Errorf("glob %q is given twice", pattern)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		seen[pattern] = true
		globs = append(globs, g)
	}
	return globs, nil
}
