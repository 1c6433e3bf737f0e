package health

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

// However many probes come, the store is asked once a second, and who gives up
// waiting leaves the answer to the others.
func TestManyProbesAskOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := &check{now: time.Now, ask: func(ctx context.Context) adminapi.Readiness {
			asked.Add(1)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			return adminapi.Readiness{Ready: ctx.Err() == nil}
		}}
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.readiness(impatient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one who gives up gets %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if got, err := c.readiness(t.Context()); err != nil || !got.Ready {
					t.Errorf("readiness is %+v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if _, err := c.readiness(t.Context()); err != nil || asked.Load() != 1 {
			t.Errorf("the store was asked %d times, %v; want once", asked.Load(), err)
		}
		time.Sleep(freshness)
		if _, err := c.readiness(t.Context()); err != nil || asked.Load() != 2 {
			t.Errorf("a second later the store was asked %d times, %v; want twice", asked.Load(), err)
		}
	})
}
