package admission

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestStrangersLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l LogLimit
		lowered := int64(0)
		for range 3 * refusalBurst {
			if level, _ := l.Level("", slog.LevelInfo); level == slog.LevelDebug {
				lowered++
			}
		}
		if lowered != 2*refusalBurst {
			t.Errorf("%d lines were lowered", lowered)
		}
		if level, more := l.Level("somebody", slog.LevelInfo); level != slog.LevelInfo || more != 0 {
			t.Errorf("a caller beside them: %v, %d", level, more)
		}
		time.Sleep(time.Second)
		if level, more := l.Level("", slog.LevelWarn); level != slog.LevelWarn || more != lowered {
			t.Errorf("afterwards: %v, %d", level, more)
		}
		if level, more := l.Level("", slog.LevelInfo); level != slog.LevelInfo || more != 0 {
			t.Errorf("and then: %v, %d", level, more)
		}
	})
}
