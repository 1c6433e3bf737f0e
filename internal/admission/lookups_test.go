package admission

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

func TestLookupBudget(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	var b lookupBudget
	for i := range unknownBurst {
		if err := b.of("one").begin(t.Context(), clock); err != nil {
			t.Fatalf("lookup %d: %v", i, err)
		}
		b.of("one").end(true, now)
	}
	e, ok := errors.AsType[*apierror.Error](b.of("one").begin(t.Context(), clock))
	if !ok || e.SubCategory != apierror.RateLimited || e.RetryAfter != time.Second {
		t.Fatalf("beyond the budget: %v", e)
	}
	if err := b.of("").begin(t.Context(), clock); err != nil {
		t.Errorf("somebody without a key: %v", err)
	}
	now = now.Add(time.Second / unknownUsers)
	if err := b.of("one").begin(t.Context(), clock); err != nil {
		t.Errorf("later: %v", err)
	}
}

// Lookups that are under way at once count before they have ended.
func TestLookupsAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	for name, missing := range map[string]bool{"users that are not there": true, "users that are": false} {
		var b lookupBudget
		var asked, refused atomic.Int64
		var all sync.WaitGroup
		for range 400 {
			all.Go(func() {
				if b.of("one").begin(t.Context(), clock) != nil {
					refused.Add(1)
					return
				}
				asked.Add(1)
				b.of("one").end(missing, now)
			})
		}
		all.Wait()
		want := int64(400)
		if missing {
			want = unknownBurst
		}
		if asked.Load() != want || asked.Load()+refused.Load() != 400 {
			t.Errorf("%s: %d were looked up and %d refused, want %d looked up", name, asked.Load(), refused.Load(), want)
		}
	}
	// Whoever waits does so no longer than they have time.
	var b lookupBudget
	for range unknownBurst {
		_ = b.of("one").begin(t.Context(), clock)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.of("one").begin(ctx, clock); err == nil {
		t.Error("there is no end to the lookups at once")
	}
}
