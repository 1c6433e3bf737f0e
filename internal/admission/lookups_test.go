package admission

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

func TestLookupBudget(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var b lookupBudget
	for i := range unknownBurst {
		if err := b.check("one", now); err != nil {
			t.Fatalf("lookup %d: %v", i, err)
		}
		b.note("one", now)
	}
	e, ok := errors.AsType[*apierror.Error](b.check("one", now))
	if !ok || e.SubCategory != apierror.RateLimited || e.RetryAfter != time.Second {
		t.Fatalf("beyond the budget: %v", e)
	}
	if err := b.check("", now); err != nil {
		t.Errorf("somebody without a key: %v", err)
	}
	now = now.Add(time.Second / unknownUsers)
	if err := b.check("one", now); err != nil {
		t.Errorf("later: %v", err)
	}
}
