package install

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

func TestClientLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := newClientLimiter(appconfig.Rate{Count: 3, Per: time.Minute})
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 3 {
		if wait := l.take(one, now); wait != 0 {
			t.Fatalf("request %d has to wait %v", i+1, wait)
		}
	}
	if wait := l.take(one, now); wait != 20*time.Second {
		t.Errorf("the fourth request has to wait %v, want 20s", wait)
	}
	if wait := l.take(two, now); wait != 0 {
		t.Errorf("another client has to wait %v", wait)
	}
	if wait := l.take(one, now.Add(19*time.Second)); wait.Round(time.Millisecond) != time.Second {
		t.Errorf("after 19s the wait is %v, want 1s: refused requests must not count", wait)
	}
	if wait := l.take(one, now.Add(20*time.Second)); wait != 0 {
		t.Errorf("after 20s the wait is %v", wait)
	}
}

func TestClientLimiterIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := newClientLimiter(appconfig.Rate{Count: 1, Per: time.Minute})
	address := netip.MustParseAddr("10.0.0.0")
	for range 2 * maxLimited {
		l.take(address, now)
		address = address.Next()
	}
	if known := len(l.recent) + len(l.older); known > maxLimited {
		t.Errorf("remembers %d clients, want at most %d", known, maxLimited)
	}
	if wait := l.take(address.Prev(), now); wait == 0 {
		t.Error("the client seen last was forgotten")
	}
	later := now.Add(time.Minute)
	for range 2 * maxLimited {
		l.take(address, later)
		address = address.Next()
		later = later.Add(time.Minute)
	}
	if known := len(l.recent) + len(l.older); known > 2 {
		t.Errorf("remembers %d clients that have been idle for long", known)
	}
}

// It looks at the whole heap, so it is not parallel.
func TestClientLimiterMemory(t *testing.T) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	l := newClientLimiter(appconfig.Rate{Count: 30, Per: time.Minute})
	address, now := netip.MustParseAddr("2001:db8::"), time.Now()
	for range 3 * maxLimited {
		l.take(address, now)
		address = address.Next()
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the limiter takes %d KiB", grown>>10)
	}
	runtime.KeepAlive(l)
}

func TestCounted(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::",
		"2001:db8:1:3::1":      "2001:db8:1:3::",
		"fe80::1%eth0":         "fe80::",
	}
	for text, want := range tests {
		if got := counted(netip.MustParseAddr(text)).String(); got != want {
			t.Errorf("counted(%q) = %s, want %s", text, got, want)
		}
	}
	if got := counted(netip.Addr{}); got != (netip.Addr{}) {
		t.Errorf("an unknown address is counted under %s", got)
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	t.Parallel()
	tests := map[time.Duration]string{
		time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	}
	for wait, want := range tests {
		if got := retryAfterSeconds(wait); got != want {
			t.Errorf("retryAfterSeconds(%v) = %s, want %s", wait, got, want)
		}
	}
}
