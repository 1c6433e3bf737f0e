package quota_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestGoodput has 50 workers make 1,000 calls through one or more sidecars
// that start at the same moment. As fast as HubSpot allows is 90 seconds. As
// the first window is used up at once, some wait for all of the next.
func TestGoodput(t *testing.T) {
	const calls, workers, ideal = 1000, 50, 90 * time.Second
	for _, tc := range []struct {
		sidecars int
		latency  time.Duration
		wait     time.Duration
		atMost   time.Duration
		refused  int
	}{
		{1, 4 * time.Millisecond, 10 * time.Second, ideal * 103 / 100, 0},
		{1, 100 * time.Millisecond, 10 * time.Second, ideal * 105 / 100, 0},
		{1, 400 * time.Millisecond, 10 * time.Second, ideal * 105 / 100, 0},
		{2, 4 * time.Millisecond, 12 * time.Second, ideal * 112 / 100, 30},
		{2, 100 * time.Millisecond, 12 * time.Second, ideal * 112 / 100, 30},
		{3, 4 * time.Millisecond, 12 * time.Second, ideal * 106 / 100, 25},
		{3, 100 * time.Millisecond, 12 * time.Second, ideal * 106 / 100, 25},
		{3, 400 * time.Millisecond, 12 * time.Second, ideal * 109 / 100, 30},
	} {
		t.Run(fmt.Sprintf("%d sidecars, %v there and back, max_wait %v", tc.sidecars, tc.latency, tc.wait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{rate: hubspotRate}
				var wg sync.WaitGroup
				next, begun := upTo(calls), time.Now()
				clients := make([]*client, tc.sidecars)
				for i := range clients {
					clients[i] = newClient(s, tc.latency)
					clients[i].work(t.Context(), &wg, (workers+i)/tc.sidecars, tc.wait, next)
				}
				wg.Wait()
				took := time.Since(begun)
				accepted, refused := s.counts()
				shares := make([]int, len(clients))
				for i, c := range clients {
					shares[i] = len(c.served)
					if c.failed > 0 {
						t.Errorf("%d calls failed", c.failed)
					}
					checkWindow(t, hubspotRate, c.sent)
				}
				t.Logf("%v; refused by HubSpot: %d; by sidecar: %d", took, refused, shares)
				if accepted != calls || took > tc.atMost || refused > tc.refused {
					t.Errorf("%d calls in %v with %d refused; want %d in %v with at most %d", accepted, took, refused, calls, tc.atMost, tc.refused)
				}
			})
		})
	}
}
