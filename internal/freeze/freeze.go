// Package freeze keeps the list of what operators have frozen: calls that the
// sidecars refuse until somebody lifts that again. The list is one document of
// the connection store, so that every sidecar that shares the store obeys it;
// a [Keeper] reads it every two seconds and answers from memory.
package freeze

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Selector says which calls are meant. All parts that are set have to match;
// the zero Selector means every call. App and Caller compare without regard
// to case, User to the letter.
type Selector struct {
	App    string `json:"app,omitempty"`
	User   string `json:"user,omitempty"`
	Caller string `json:"caller,omitempty"`
	// Writes means only calls that may change something.
	Writes bool `json:"writes,omitempty"`
}

// Freeze is one order of an operator.
type Freeze struct {
	Selector
	// Reason is why, for other operators; callers are not told.
	Reason string `json:"reason,omitempty"`
	// Since is when it was ordered, by the clock of the sidecar that was told.
	Since time.Time `json:"since"`
	// By is who ordered it, as that person's command said.
	By string `json:"by,omitempty"`
}

// Call is what somebody wants to do.
type Call struct {
	// App, User and Caller are who and for whom. An empty one matches no
	// Selector that names one: a call without a key is no caller's.
	App, User, Caller string
	// Writes is set unless the call is known to change nothing.
	Writes bool
	// Tending is looking at a connection, or ending it, which responders
	// need most while something is frozen: only a freeze that names their
	// caller stops it.
	Tending bool
}

// matches reports whether f stops c.
func (f *Freeze) matches(c *Call) bool {
	return (f.User == "" || f.User == c.User) &&
		(f.App == "" || strings.EqualFold(f.App, c.App)) &&
		(f.Caller == "" || strings.EqualFold(f.Caller, c.Caller)) &&
		(!f.Writes || c.Writes) &&
		(!c.Tending || f.Caller != "")
}

// Is reports whether two selectors mean the same calls.
func (s Selector) Is(other Selector) bool {
	return strings.EqualFold(s.App, other.App) && strings.EqualFold(s.Caller, other.Caller) &&
		s.User == other.User && s.Writes == other.Writes
}

// IsEverything reports whether no part but Writes narrows the selector.
func (s Selector) IsEverything() bool { return s.App == "" && s.User == "" && s.Caller == "" }

// Dimensions names the parts that are set, and none of their values: app,
// user, caller, writes, or everything.
func (s Selector) Dimensions() []string {
	var set []string
	for _, part := range []struct{ name, value string }{{"app", s.App}, {"user", s.User}, {"caller", s.Caller}} {
		if part.value != "" {
			set = append(set, part.name)
		}
	}
	if len(set) == 0 {
		set = append(set, "everything")
	}
	if s.Writes {
		set = append(set, "writes")
	}
	return set
}

// Bounds of what the list holds.
const (
	maxFreezes = 1000
	maxName    = 64
	maxUser    = 1024
	maxText    = 500
)

// check refuses what the list cannot hold. Its errors hold none of the values.
func (f Freeze) check() error {
	for _, part := range []struct {
		name, value string
		longest     int
	}{
		{"app", f.App, maxName}, {"user", f.User, maxUser}, {"caller", f.Caller, maxName},
		{"reason", f.Reason, maxText}, {"by", f.By, maxText},
	} {
		switch {
		case len(part.value) > part.longest:
			return fmt.Errorf("%s is longer than %d bytes", part.name, part.longest)
		case !utf8.ValidString(part.value):
			return errors.New(part.name + " is not UTF-8")
		case strings.ContainsFunc(part.value, unicode.IsControl):
			return errors.New(part.name + " holds a control character")
		}
	}
	return nil
}
