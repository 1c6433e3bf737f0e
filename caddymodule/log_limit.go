package caddymodule

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

// How many lines of the log strangers can cause at the usual level.
const (
	strangerLines = 10 // per second
	strangerBurst = 100
)

// strangerLog keeps those who have no key from filling the log: what they
// cause beyond the limit is logged at debug level, with all that it says, and
// the next line at the usual level tells how many those were. It is safe for
// concurrent use.
type strangerLog struct {
	limiter *rate.Limiter
	lowered atomic.Int64
}

func newStrangerLog() *strangerLog {
	return &strangerLog{limiter: rate.NewLimiter(strangerLines, strangerBurst)}
}

// level returns the level for a line that would have the given one, and what
// the line says beside.
func (l *strangerLog) level(usual zapcore.Level) (zapcore.Level, zap.Field) {
	if !l.limiter.Allow() {
		l.lowered.Add(1)
		return zapcore.DebugLevel, zap.Skip()
	}
	if n := l.lowered.Swap(0); n > 0 {
		return usual, zap.Int64("more_at_debug_level", n)
	}
	return usual, zap.Skip()
}
