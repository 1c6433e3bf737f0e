package access

import "strings"

// spellings are the forms of one reading in which a prohibition holds: lower
// case, with and without parameters, with and without dots at the ends of its
// segments, with and without a slash at the end, which most routers do not
// regard; and each of them without its extensions, see [cutExtension].
type spellings struct {
	forms [8]string
	n     int
	// tooMany is set for a path with more extensions than are compared.
	tooMany bool
}

// spell has the spellings of a path put into s, which must be zero.
func (s *spellings) spell(path string) {
	path = fold(path)
	s.addForms(path)
	if strings.IndexByte(path, ';') >= 0 {
		s.addForms(stripParameters(path))
	}
}

func (s *spellings) addForms(path string) {
	s.add(path)
	if strings.IndexByte(path, '.') < 0 {
		return
	}
	s.tooMany = s.tooMany || strings.Count(path[lastSegment(path):], ".") > maxDots
	if trimmed := trimDots(path); trimmed != path {
		s.add(trimmed)
	}
}

func (s *spellings) add(path string) {
	s.forms[s.n] = path
	s.n++
	if path == "" || path[len(path)-1] != '/' {
		return
	}
	if trimmed := strings.TrimRight(path, "/"); trimmed != "" {
		s.forms[s.n] = trimmed
		s.n++
	}
}

func (s *spellings) list() []string { return s.forms[:s.n] }

func (s *spellings) match(g Glob) bool {
	for _, form := range s.list() {
		if g.matchFolded(form) || matchCut(form, g.matchFolded) {
			return true
		}
	}
	return false
}

// matchCut reports whether a match is for the path without one of its
// extensions.
func matchCut(path string, match func(string) bool) bool {
	start := lastSegment(path)
	for cut, ok := cutExtension(path, start); ok; cut, ok = cutExtension(cut, start) {
		if match(cut) {
			return true
		}
	}
	return false
}
