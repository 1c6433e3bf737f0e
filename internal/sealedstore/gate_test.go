package sealedstore

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestGates(t *testing.T) {
	var g gates
	inside := map[string]int{}
	var wg sync.WaitGroup
	for i := range 50 {
		name := string(rune('a' + i%3))
		wg.Go(func() {
			leave, err := g.enter(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			g.mu.Lock()
			inside[name]++
			if inside[name] != 1 {
				t.Errorf("%d are inside gate %q", inside[name], name)
			}
			g.mu.Unlock()
			defer func() {
				g.mu.Lock()
				inside[name]--
				g.mu.Unlock()
			}()
		})
	}
	wg.Wait()
	if len(g.names) != 0 {
		t.Errorf("%d names are kept that nobody uses", len(g.names))
	}
}

func TestGateWaitEndsWithContext(t *testing.T) {
	var g gates
	leave, err := g.enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("enter = %v, want context.Canceled", err)
	}
	leave()
	if len(g.names) != 0 {
		t.Errorf("%d names are kept that nobody uses", len(g.names))
	}
}
