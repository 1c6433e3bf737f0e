package quota_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// TestGoodput has 50 workers make 1,000 calls through one or more sidecars
// that start at the same moment. As fast as HubSpot allows is 90 seconds.
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
		{1, 400 * time.Millisecond, time.Minute, ideal * 105 / 100, 0},
		{2, 4 * time.Millisecond, time.Minute, ideal * 107 / 100, 50},
		{2, 100 * time.Millisecond, time.Minute, ideal * 108 / 100, 50},
		{3, 4 * time.Millisecond, 20 * time.Second, ideal * 107 / 100, 60},
		{3, 100 * time.Millisecond, time.Minute, ideal * 108 / 100, 50},
		{3, 400 * time.Millisecond, time.Minute, ideal * 110 / 100, 60},
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

// TestNewcomer has sidecars join one that uses all there is.
func TestNewcomer(t *testing.T) {
	for _, latency := range []time.Duration{4 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
		for _, sidecars := range []int{2, 3} {
			t.Run(fmt.Sprintf("%d sidecars, %v there and back", sidecars, latency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testNewcomer(t, sidecars, latency) })
			})
		}
	}
}

func testNewcomer(t *testing.T, sidecars int, latency time.Duration) {
	s := &server{rate: hubspotRate}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	clients := make([]*client, sidecars)
	for i := range clients {
		clients[i] = newClient(s, latency)
	}
	clients[0].work(ctx, &wg, 50, time.Minute, always)
	time.Sleep(3 * hubspotRate.Per)
	for _, c := range clients[1:] {
		c.work(ctx, &wg, 20, time.Minute, always)
	}
	window := func() (sum, refused int) {
		begun := time.Now()
		_, before := s.counts()
		time.Sleep(hubspotRate.Per)
		_, after := s.counts()
		line := ""
		for _, c := range clients {
			n := c.servedSince(begun)
			sum += n
			line += fmt.Sprintf(" %3d", n)
		}
		t.Logf("%s = %d; refused %d", line, sum, after-before)
		return sum, after - before
	}
	// Nothing tells the newcomers that they are not alone before the first
	// answers, so what they send at once may be refused.
	if _, refused := window(); refused > 25*(sidecars-1) {
		t.Errorf("%d refused in the first window", refused)
	}
	const windows, last = 15, 5
	var late time.Time
	for i := 1; i < windows; i++ {
		if i == windows-last {
			late = time.Now()
		}
		if sum, refused := window(); refused > 10 || sum < hubspotRate.Count*85/100 {
			t.Errorf("window %d: %d served, %d refused", i, sum, refused)
		}
	}
	for i, c := range clients {
		if n, fair := c.servedSince(late), last*hubspotRate.Count/sidecars; n < fair/6 {
			t.Errorf("sidecar %d got %d at last, while %d is fair", i, n, fair)
		}
	}
	cancel()
	wg.Wait()
	for i, c := range clients {
		// One of the calls that a newcomer sends at once may be refused
		// three times before the others have made room.
		if tolerated := min(i, 1) * 2; c.failed > tolerated {
			t.Errorf("%d calls of sidecar %d failed", c.failed, i)
		}
		checkWindow(t, hubspotRate, c.sent)
	}
}

// TestOthersAreNoticed has another program use half of the quota, without
// any regard for us.
func TestOthersAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{rate: hubspotRate}
		c := newClient(s, 20*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				s.arrive()
				time.Sleep(hubspotRate.Per / 55)
			}
		})
		time.Sleep(hubspotRate.Per)
		c.work(ctx, &wg, 30, time.Minute, always)
		time.Sleep(hubspotRate.Per)
		_, before := s.counts()
		begun := time.Now()
		time.Sleep(10 * hubspotRate.Per)
		_, after := s.counts()
		// The other's come at their own times, so now and then one of
		// either side finds no place.
		if refused := after - before; refused > 30 {
			t.Errorf("%d requests of 1,100 were refused", refused)
		}
		if served := c.servedSince(begun); served < 480 {
			t.Errorf("%d served in the half that is left, want at least 480", served)
		}
		cancel()
		wg.Wait()
	})
}

// TestOthersAreForgotten has another program stop.
func TestOthersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{rate: hubspotRate}
		for range 60 {
			s.arrive()
		}
		c := newClient(s, 20*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		c.work(ctx, &wg, 30, time.Minute, always)
		time.Sleep(3 * hubspotRate.Per)
		begun := time.Now()
		time.Sleep(2 * hubspotRate.Per)
		if served := c.servedSince(begun); served < 214 {
			t.Errorf("%d served in two windows, want all 220 but a few", served)
		}
		if _, refused := s.counts(); refused > 10 {
			t.Errorf("%d refused", refused)
		}
		cancel()
		wg.Wait()
	})
}

// TestSearchIsShared has two sidecars search, where no header tells of
// others.
func TestSearchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{rate: quota.Rate{Count: 5, Per: time.Second}, silent: true}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		clients := make([]*client, 2)
		for i := range clients {
			clients[i] = newClient(s, 100*time.Millisecond)
			clients[i].class = quota.Search
			clients[i].work(ctx, &wg, 5, time.Minute, always)
		}
		time.Sleep(time.Minute)
		cancel()
		wg.Wait()
		accepted, refused := s.counts()
		if accepted < 210 || refused > 120 {
			t.Errorf("%d served and %d refused in a minute", accepted, refused)
		}
		t.Logf("served %d and %d, refused %d", len(clients[0].served), len(clients[1].served), refused)
		for _, c := range clients {
			if len(c.served) < accepted/4 {
				t.Errorf("one sidecar had %d of %d", len(c.served), accepted)
			}
		}
	})
}
