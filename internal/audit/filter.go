package audit

import (
	"slices"
	"time"
)

// Filter chooses lines. The zero value chooses all that are about a call.
type Filter struct {
	// Users are chosen if there are any: those whose app and tag are one of
	// them. An empty App is any.
	Users []User
	// App and Caller are chosen if they are not empty.
	App, Caller string
	// Since and Until bound the time, Until not included. A zero one does
	// not.
	Since, Until time.Time
}

// User is a user of an app, by its tag.
type User struct{ App, Tag string }

// Match reports whether a line is chosen.
func (f Filter) Match(line Line) bool {
	switch {
	case !line.aboutCall(),
		f.App != "" && f.App != line.App,
		f.Caller != "" && f.Caller != line.Caller,
		!f.Since.IsZero() && line.Time.Before(f.Since),
		!f.Until.IsZero() && !line.Time.Before(f.Until):
		return false
	}
	return len(f.Users) == 0 || slices.ContainsFunc(f.Users, func(user User) bool {
		return user.Tag == line.UserTag && (user.App == "" || user.App == line.App)
	})
}

// aboutCall reports whether a line is about what a caller did, and not about
// the log.
func (l Line) aboutCall() bool {
	switch l.Kind {
	case KindFile, KindStart, KindStop, KindLost, KindTorn:
		return false
	}
	return true
}
