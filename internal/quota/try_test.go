package quota_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

func TestTryDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, time.Second)
		use(t, l, quota.Request{HubID: 1})
		r := quota.Request{HubID: 1, Wait: time.Minute}
		begun := time.Now()
		ticket, ok := l.Try(r)
		if !ok {
			t.Fatal("no place below the quota")
		}
		if _, ok := l.Try(r); ok {
			t.Error("a place beyond the quota")
		}
		if _, ok := l.Try(quota.Request{HubID: 1, Limit: hubspot.NoLimit}); !ok {
			t.Error("no place for what is not counted")
		}
		// The failed try took nothing.
		ticket.Unsent()
		if _, ok := l.Try(r); !ok {
			t.Error("no place once one was given back")
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestTryDoesNotOvertake has a place come free while somebody waits for it.
func TestTryDoesNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Second)
		for range 10 {
			use(t, l, quota.Request{HubID: 1})
		}
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := l.Wait(t.Context(), quota.Request{HubID: 1, Wait: time.Minute})
				done <- err
			}()
		}
		// All ten places are free again, but the second waiter has its turn
		// only after the first.
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Try(quota.Request{HubID: 1}); ok {
			t.Error("went ahead of one that waits")
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Try(quota.Request{HubID: 1}); !ok {
			t.Error("no place with nobody waiting")
		}
	})
}

// TestWaitIsMeasuredFromItsCall has a caller do something else after Try.
func TestWaitIsMeasuredFromItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		use(t, l, quota.Request{HubID: 1})
		r := quota.Request{HubID: 1, Wait: 700 * time.Millisecond}
		if _, ok := l.Try(r); ok {
			t.Fatal("a place beyond the quota")
		}
		time.Sleep(400 * time.Millisecond)
		begun := time.Now()
		ticket, err := l.Wait(t.Context(), r)
		if err != nil {
			t.Fatalf("a place comes 600ms after the call: %v", err)
		}
		if waited := time.Since(begun); ticket.Waited != waited {
			t.Errorf("the ticket says %v, waited %v", ticket.Waited, waited)
		}
	})
}

// TestWaitBelowTheQuota has a place come free between Try and Wait.
func TestWaitBelowTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		use(t, l, quota.Request{HubID: 1})
		if _, ok := l.Try(quota.Request{HubID: 1}); ok {
			t.Fatal("a place beyond the quota")
		}
		time.Sleep(time.Second)
		ticket, err := l.Wait(t.Context(), quota.Request{HubID: 1})
		if err != nil || ticket.Waited != 0 {
			t.Errorf("waited %v, error %v", ticket.Waited, err)
		}
		if _, err := l.Wait(t.Context(), quota.Request{HubID: 1, Limit: hubspot.NoLimit}); err != nil {
			t.Errorf("what is not counted: %v", err)
		}
	})
}

func TestTryDoesNotAllocate(t *testing.T) {
	l := newLimiter(1000, 50*time.Microsecond)
	r := quota.Request{HubID: 1, Wait: time.Second}
	l.Try(r)
	// Both with a place and without one.
	if n := testing.AllocsPerRun(10_000, func() { l.Try(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
