package sunset

import (
	"cmp"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Notice is for how long before its end an ending is spoken of. The version of
// today has an end too, which is nobody's concern yet.
const Notice = 365 * 24 * time.Hour

// urgent is for how long before its end, and ever after, calls are worth a
// warning in the log.
const urgent = 90 * 24 * time.Hour

// Watch counts the calls to endpoints that end. Its zero value is ready to use;
// it is safe for concurrent use.
type Watch struct {
	mu   sync.RWMutex
	uses map[use]*tally
}

// use is who calls what. All three are from the config or the table, so that
// there are not many.
type use struct {
	app, caller string
	ending      *Ending
}

type tally struct {
	calls atomic.Uint64
	// last is in Unix nanoseconds.
	last atomic.Int64
}

// Near returns the ending of a path's endpoint, if it is due within [Notice] or
// past; nil if not.
func Near(path string, now time.Time) *Ending {
	e := Find(path)
	if e == nil || e.Ends.Sub(now) > Notice {
		return nil
	}
	return e
}

// Called counts a call of an app's caller, and has the first one of its kind
// logged. caller is empty for one without a key.
func (w *Watch) Called(app, caller string, e *Ending, now time.Time, logger *slog.Logger) {
	key := use{app, caller, e}
	w.mu.RLock()
	t := w.uses[key]
	w.mu.RUnlock()
	if t == nil {
		t = w.begin(key, now, logger)
	}
	t.last.Store(now.UnixNano())
	t.calls.Add(1)
}

func (w *Watch) begin(key use, now time.Time, logger *slog.Logger) *tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.uses[key]; t != nil {
		return t
	}
	if w.uses == nil {
		w.uses = make(map[use]*tally)
	}
	t := new(tally)
	w.uses[key] = t
	if e := key.ending; e.Ends.Sub(now) <= urgent {
		logger.Warn("an app calls an endpoint that HubSpot ends", "app", key.app, "caller", key.caller,
			"family", e.Family, "ends", e.Published, "effect", e.Effect, "instead", e.Instead)
	}
	return t
}

// Use is who has called what since the process began.
type Use struct {
	App, Caller string
	*Ending
	Calls uint64
	Last  time.Time
}

// Uses lists who called what, the nearest end first.
func (w *Watch) Uses() []Use {
	w.mu.RLock()
	defer w.mu.RUnlock()
	uses := make([]Use, 0, len(w.uses))
	for key, t := range maps.All(w.uses) {
		uses = append(uses, Use{key.app, key.caller, key.ending, t.calls.Load(), time.Unix(0, t.last.Load())})
	}
	slices.SortFunc(uses, func(a, b Use) int {
		return cmp.Or(a.Ends.Compare(b.Ends), cmp.Compare(a.Family, b.Family), cmp.Compare(a.App, b.App), cmp.Compare(a.Caller, b.Caller))
	})
	return uses
}

// DaysLeft is the number of whole days until the end; below zero after it.
func (e *Ending) DaysLeft(now time.Time) int {
	left := e.Ends.Sub(now)
	if left < 0 {
		left -= 24*time.Hour - 1
	}
	return int(left / (24 * time.Hour))
}

// Announce says in the header of an answer that its endpoint ends: Sunset where
// calls will fail (RFC 8594), Deprecation for all (RFC 9745), which may name a
// day to come, and a Link to HubSpot's page. Headers that HubSpot has sent stay.
func (e *Ending) Announce(header http.Header) {
	if e.Effect == Fails && header.Get("Sunset") == "" {
		header.Set("Sunset", e.Ends.UTC().Format(http.TimeFormat))
	}
	if header.Get("Deprecation") == "" {
		header.Set("Deprecation", "@"+strconv.FormatInt(e.Ends.Unix(), 10))
		header.Add("Link", "<"+e.Source+`>; rel="deprecation"; type="text/html"`)
	}
}
