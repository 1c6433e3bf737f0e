package access

import (
	"fmt"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Blocked reports whether a reading of a path is of an endpoint that no caller
// may reach, whatever its policy: one of [hubspot.TokenEndpoints]. It compares case-insensitively and does not regard
// `;parameters`.
func Blocked(path string) bool {
	spellings := spell(path)
	for _, spelling := range spellings.list() {
		for _, endpoint := range hubspot.TokenEndpoints {
			rest, ok := cutSegments(spelling, endpoint.Root)
			if ok && (endpoint.Below == "" || hasSegment(rest, endpoint.Below)) {
				return true
			}
		}
	}
	return false
}

// cutSegments takes whole segments off the beginning of a path.
func cutSegments(path, segments string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, segments)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// hasSegment reports whether a path has a segment, which is given with its
// slash.
func hasSegment(path, segment string) bool {
	for {
		i := strings.Index(path, segment)
		if i < 0 {
			return false
		}
		path = path[i+len(segment):]
		if path == "" || path[0] == '/' {
			return true
		}
	}
}

// Judge asks for a verdict on every reading of a path (see [Readings]) and
// returns it where all agree, or an error that wraps [ErrAmbiguous].
func Judge[V comparable](readings []string, verdict func(path string) V) (V, error) {
	var zero V
	if len(readings) == 0 {
		return zero, fmt.Errorf("%w: it has no reading", ErrAmbiguous)
	}
	first := verdict(readings[0])
	for _, reading := range readings[1:] {
		if verdict(reading) != first {
			return zero, ErrAmbiguous
		}
	}
	return first, nil
}

// spellings are the forms of one reading in which a prohibition holds: lower
// case, with and without parameters, with and without a slash at the end,
// which most routers do not regard.
type spellings struct {
	forms [4]string
	n     int
}

func spell(path string) spellings {
	var s spellings
	path = fold(path)
	s.add(path)
	if strings.Contains(path, ";") {
		s.add(stripParameters(path))
	}
	return s
}

func (s *spellings) add(path string) {
	s.forms[s.n] = path
	s.n++
	if trimmed := strings.TrimRight(path, "/"); trimmed != path && trimmed != "" {
		s.forms[s.n] = trimmed
		s.n++
	}
}

func (s *spellings) list() []string { return s.forms[:s.n] }

func (s *spellings) match(g Glob) bool {
	for _, form := range s.list() {
		if g.matchFolded(form) {
			return true
		}
	}
	return false
}
