package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Bounds of the garbage collector's percentage (GOGC). Most of what a proxy
// allocates is garbage at once, and a small heap is collected often for nothing:
// see docs/performance.md.
const (
	leastPercent = 100 // Go's own
	mostPercent  = 400
	// smallHeap is how much garbage may gather before it is collected, while
	// that is more than what Go would let gather.
	smallHeap = 64 << 20
)

// tuneGC lets more garbage gather while the heap is small, unless the operator
// has set GOGC. Go's memory limit, which Caddy sets, still holds. It looks at the
// heap after each collection.
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(mostPercent)
	afterEachGC(func(live uint64) { debug.SetGCPercent(gcPercent(live)) })
}

// gcPercent is the percentage for a heap of so many live bytes.
func gcPercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(100*smallHeap/live, leastPercent), mostPercent))
}

// afterEachGC calls f after each collection with what was live then, on the
// goroutine of finalizers.
func afterEachGC(f func(live uint64)) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var watch func(*[1 << 5]byte)
	watch = func(sentinel *[1 << 5]byte) {
		metrics.Read(sample)
		f(sample[0].Value.Uint64())
		runtime.SetFinalizer(sentinel, watch)
	}
	runtime.SetFinalizer(new([1 << 5]byte), watch)
}
