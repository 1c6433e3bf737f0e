package access

import (
	"fmt"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Blocked reports whether a reading of a path is of an endpoint that no caller
// may reach, whatever its policy: one of [hubspot.TokenEndpoints]. It compares
// case-insensitively and does not regard `;parameters`, dots at the end of a
// segment, and extensions at the end of the path.
func Blocked(path string) bool {
	var spellings spellings
	spellings.spell(path)
	for _, spelling := range spellings.list() {
		if isTokenEndpoint(withoutExtensions(spelling)) {
			return true
		}
	}
	return false
}

func isTokenEndpoint(path string) bool {
	for _, endpoint := range hubspot.TokenEndpoints {
		rest, ok := cutSegments(path, endpoint.Root)
		if ok && (endpoint.Below == "" || hasSegment(rest, endpoint.Below)) {
			return true
		}
	}
	return false
}

// withoutExtensions cuts the last segment at its first dot. The names of
// [hubspot.TokenEndpoints] have no dots, so none of the cuts between could make
// one of them.
func withoutExtensions(path string) string {
	start := lastSegment(path)
	for cut, ok := cutExtension(path, start); ok; cut, ok = cutExtension(path, start) {
		path = cut
	}
	return path
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
