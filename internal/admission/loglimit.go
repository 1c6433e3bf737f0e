package admission

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// How many lines of the log one caller, and all strangers together, can cause
// at the usual level.
const (
	refusalLines = 10 // per second
	refusalBurst = 100
)

// LogLimit keeps those who are refused from filling the log: what a caller
// causes beyond the limit is logged at debug level, with all that it says, and
// the next line at the usual level tells how many those were. Strangers, who
// have no name, share one limit. Callers are configured, so there are only so
// many. The zero value is ready; it is safe for concurrent use.
type LogLimit struct {
	callers sync.Map // of caller names to *lineLimit
}

type lineLimit struct {
	limiter *rate.Limiter
	lowered atomic.Int64
}

// Level returns the level for a line that would have the given one, and how
// many lines were lowered before it.
func (l *LogLimit) Level(caller string, usual slog.Level) (level slog.Level, lowered int64) {
	known, ok := l.callers.Load(caller)
	if !ok {
		known, _ = l.callers.LoadOrStore(caller, &lineLimit{limiter: rate.NewLimiter(refusalLines, refusalBurst)})
	}
	limit := known.(*lineLimit)
	if !limit.limiter.Allow() {
		limit.lowered.Add(1)
		return slog.LevelDebug, 0
	}
	return usual, limit.lowered.Swap(0)
}
