package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 1 << 20: 400, 16 << 20: 400, 32 << 20: 200, 64 << 20: 100, 1 << 30: 100,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MiB live: %d %%, want %d %%", live>>20, got, want)
		}
	}
}

// What the operator has set stays.
func TestOperatorsGCPercent(t *testing.T) {
	t.Setenv("GOGC", "150")
	before := debug.SetGCPercent(150)
	defer debug.SetGCPercent(before)
	tuneGC()
	if got := debug.SetGCPercent(150); got != 150 {
		t.Errorf("GOGC was set to %d", got)
	}
}

// It is looked at again and again, not only once.
func TestAfterEachGC(t *testing.T) {
	seen := make(chan uint64, 100)
	afterEachGC(func(live uint64) {
		select {
		case seen <- live:
		default:
		}
	})
	for range 3 {
		runtime.GC()
		select {
		case live := <-seen:
			if live == 0 {
				t.Error("nothing is live")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("waiting for a collection: none was noticed")
		}
	}
}
