// Package sunset knows which endpoints HubSpot ends, and when, and watches who
// calls them.
package sunset

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Effect is what comes of calls to an endpoint after its end.
type Effect string

// The effects.
const (
	// Fails: calls fail.
	Fails Effect = "error"
	// Partial: calls are answered, with less in the answers.
	Partial Effect = "partial"
	// Unsupported: calls may go on working, without fixes or a promise.
	Unsupported Effect = "unsupported"
)

// Ending is a family of endpoints with an end.
type Ending struct {
	// Family is the pattern of its paths; * stands for one or more segments.
	Family string
	// What names it in words.
	What string
	// Ends is the day in UTC, or the first day of the month where HubSpot
	// names the month only. Published is the end as it was published.
	Ends      time.Time
	Published string
	Effect    Effect
	// Instead is what HubSpot offers; empty for nothing.
	Instead string
	// Source is HubSpot's page.
	Source string

	// literal is how much of the pattern is text: the more, the better it
	// fits.
	literal  int
	segments []string
}

//go:embed endings.tsv
var endings string

// table has the endings so that few are looked at for a path.
type table struct {
	// named are those that begin with text, by that, and versions the others,
	// which are /*/<version>/*.
	named    map[string][]*Ending
	versions map[string]*Ending
}

// published is the table that the program comes with.
var published = sync.OnceValue(func() *table {
	t, err := parse(endings)
	if err != nil {
		panic(err) // a test reads it
	}
	return t
})

// Find returns the ending that fits an escaped path best, or nil. It allocates
// nothing and is safe for concurrent use.
func Find(path string) *Ending { return published().find(path) }

func parse(text string) (*table, error) {
	t := &table{named: make(map[string][]*Ending), versions: make(map[string]*Ending)}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		switch first := e.segments[0]; {
		case first != "*":
			t.named[first] = append(t.named[first], e)
		case len(e.segments) == 3 && e.segments[2] == "*":
			t.versions[e.segments[1]] = e
		default:
			return nil, fmt.Errorf("pattern %s: is neither of an API nor of a version", e.Family)
		}
	}
	return t, nil
}

func parseLine(line string) (*Ending, error) {
	columns := strings.Split(line, "\t")
	if len(columns) != 6 {
		return nil, fmt.Errorf("line %q: has %d columns, not 6", line, len(columns))
	}
	e := &Ending{
		Family: columns[0], What: columns[1], Published: columns[2], Effect: Effect(columns[3]),
		Instead: columns[4], Source: columns[5],
		segments: strings.Split(strings.TrimPrefix(columns[0], "/"), "/"),
	}
	layout := time.DateOnly
	if len(e.Published) < len(layout) {
		layout = "2006-01"
	}
	var err error
	if e.Ends, err = time.Parse(layout, e.Published); err != nil {
		return nil, fmt.Errorf("pattern %s: %w", e.Family, err)
	}
	for _, segment := range e.segments {
		if segment != "*" {
			e.literal += len(segment)
		}
	}
	return e, nil
}

func (t *table) find(path string) *Ending {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	first, rest, _ := strings.Cut(path, "/")
	var best *Ending
	for _, e := range t.named[first] {
		if (best == nil || e.literal > best.literal) && fits(e.segments[1:], rest) {
			best = e
		}
	}
	if best != nil {
		return best
	}
	// The version is neither the first segment nor the last.
	for {
		segment, after, more := strings.Cut(rest, "/")
		if !more {
			return nil
		}
		if e := t.versions[segment]; e != nil {
			return e
		}
		rest = after
	}
}

// fits reports whether segments of a path, joined by slashes, are what a pattern
// wants.
func fits(pattern []string, path string) bool {
	if len(pattern) == 0 {
		return path == ""
	}
	segment, rest, more := strings.Cut(path, "/")
	if pattern[0] != "*" {
		return segment == pattern[0] && fits(pattern[1:], rest)
	}
	if segment == "" && !more {
		return false
	}
	if fits(pattern[1:], rest) {
		return true
	}
	return more && fits(pattern, rest)
}
