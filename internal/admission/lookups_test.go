package admission

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestLookupBudget(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	d := &Desk{now: func() time.Time { return now }}
	caller, err := access.NewCaller(access.CallerConfig{Name: "one", Keys: []secret.Text{secret.New("one-key-0123456789-01234")}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range unknownBurst {
		if err := d.CheckLookup(caller); err != nil {
			t.Fatalf("lookup %d: %v", i, err)
		}
		d.NoteUnknown(caller)
	}
	e, ok := errors.AsType[*apierror.Error](d.CheckLookup(caller))
	if !ok || e.SubCategory != apierror.RateLimited || e.RetryAfter != time.Second {
		t.Fatalf("beyond the budget: %v", e)
	}
	if err := d.CheckLookup(nil); err != nil {
		t.Errorf("somebody without a key: %v", err)
	}
	now = now.Add(time.Second / unknownUsers)
	if err := d.CheckLookup(caller); err != nil {
		t.Errorf("later: %v", err)
	}
	// Users that are there cost nothing.
	for range 2 * unknownBurst {
		if err := d.CheckLookup(caller); err != nil {
			t.Fatalf("a known user: %v", err)
		}
	}
}
