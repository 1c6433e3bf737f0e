package quota_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

var shareRuns = flag.Int("shares", 2, "how often TestShares plays each of its cases")

// crowd is a number of sidecars on one portal, each with more to do than its
// share.
type crowd struct {
	// latencies are those of the sidecars, there and back.
	latencies []time.Duration
	// joining: the first one has the portal for itself for a while.
	joining bool
}

// shares is what became of a crowd.
type shares struct {
	// parts of the last five windows, of which 1 is a fair share.
	parts []float64
	// used of the quota in these windows.
	used float64
	// refused by HubSpot in the window in which the crowd came together, and
	// in the fourteen after it.
	atFirst, later int
	// failed calls, which were refused three times.
	failed int
}

func (c crowd) String() string {
	how := "at once"
	if c.joining {
		how = "joining"
	}
	return fmt.Sprintf("%d %s, %v", len(c.latencies), how, c.latencies)
}

func (c crowd) play(t *testing.T) (result shares) {
	s := &server{rate: hubspotRate}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	clients := make([]*client, len(c.latencies))
	for i, latency := range c.latencies {
		clients[i] = newClient(s, latency)
		workers := 20
		if c.joining && i == 0 {
			workers = 50
		}
		clients[i].work(ctx, &wg, workers, time.Minute, always)
		if c.joining && i == 0 {
			time.Sleep(3 * hubspotRate.Per)
		}
	}
	time.Sleep(hubspotRate.Per)
	_, result.atFirst = s.counts()
	const windows, last = 15, 5
	time.Sleep((windows - 1 - last) * hubspotRate.Per)
	late := time.Now()
	time.Sleep(last * hubspotRate.Per)
	for _, c := range clients {
		part := float64(c.servedSince(late)) / float64(last*hubspotRate.Count)
		result.used += part
		result.parts = append(result.parts, part*float64(len(clients)))
	}
	_, result.later = s.counts()
	result.later -= result.atFirst
	cancel()
	wg.Wait()
	for _, c := range clients {
		result.failed += c.failed
		checkWindow(t, hubspotRate, c.sent)
	}
	return result
}

// TestShares has sidecars that do not know of each other come to fair shares
// of a portal, and use what there is, without storms of 429.
func TestShares(t *testing.T) {
	t.Parallel()
	const low, middle, high = 4 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond
	for _, latencies := range [][]time.Duration{
		{low, low}, {middle, middle}, {high, high}, {low, high},
		{low, low, low}, {middle, middle, middle}, {high, high, high}, {low, middle, high},
	} {
		for _, joining := range []bool{false, true} {
			c := crowd{latencies, joining}
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				testShares(t, c)
			})
		}
	}
}

func testShares(t *testing.T, c crowd) {
	sum, worst := shares{}, shares{used: 1}
	least, most := 1.0, 1.0
	for range *shareRuns {
		var got shares
		synctest.Test(t, func(t *testing.T) { got = c.play(t) })
		least, most = min(least, slices.Min(got.parts)), max(most, slices.Max(got.parts))
		sum.used += got.used
		sum.atFirst += got.atFirst
		sum.later += got.later
		sum.failed += got.failed
		worst.used = min(worst.used, got.used)
		worst.atFirst, worst.later = max(worst.atFirst, got.atFirst), max(worst.later, got.later)
		if slices.Min(got.parts) < 0.4 || slices.Max(got.parts) > 1.5 {
			t.Errorf("parts %.2f", got.parts)
		}
	}
	runs := float64(*shareRuns)
	t.Logf("parts %.2f to %.2f; used %.3f, at worst %.3f; refused at first %.1f, at most %d; later %.1f, at most %d; failed %d",
		least, most, sum.used/runs, worst.used, float64(sum.atFirst)/runs, worst.atFirst, float64(sum.later)/runs, worst.later, sum.failed)
	// Nothing tells a newcomer of the others before the first answers, so what
	// it sends at once may be refused once.
	newcomers := len(c.latencies) - 1
	if worst.used < 0.91 || worst.atFirst > 15+20*newcomers || worst.later > 15*newcomers || sum.failed > *shareRuns {
		t.Errorf("used %.3f, %d refused at first and %d later, %d failed", worst.used, worst.atFirst, worst.later, sum.failed)
	}
}

// TestSmallDemand has one sidecar want a tenth of the quota beside others that
// want all of it.
func TestSmallDemand(t *testing.T) {
	for _, latency := range []time.Duration{4 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testSmallDemand(t, latency) })
		})
	}
}

func testSmallDemand(t *testing.T, latency time.Duration) {
	s := &server{rate: hubspotRate}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	modest, greedy, other := newClient(s, latency), newClient(s, latency), newClient(s, latency)
	greedy.work(ctx, &wg, 30, time.Minute, always)
	other.work(ctx, &wg, 30, time.Minute, always)
	var slowest time.Duration
	settled := time.Now().Add(5 * hubspotRate.Per)
	wg.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			if err := modest.call(ctx, quota.Request{HubID: 1, Wait: time.Minute}); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if begun.After(settled) {
				slowest = max(slowest, time.Since(begun))
			}
			time.Sleep(time.Until(begun.Add(hubspotRate.Per / 11)))
		}
	})
	const windows = 10
	time.Sleep(5 * hubspotRate.Per)
	late := time.Now()
	time.Sleep(windows * hubspotRate.Per)
	little, much, more := modest.servedSince(late)/windows, greedy.servedSince(late)/windows, other.servedSince(late)/windows
	cancel()
	wg.Wait()
	t.Logf("in each window: %d of 11, %d and %d; the slowest took %v", little, much, more, slowest)
	if little < 10 {
		t.Errorf("who wants little got %d of 11", little)
	}
	if min(much, more) < 33 || much+more < 85 {
		t.Errorf("the others got %d and %d of 99", much, more)
	}
	if slowest > hubspotRate.Per/2 {
		t.Errorf("who wants little waited %v", slowest)
	}
}

// TestBurstOfANewcomer has a sidecar come to a full portal with 20 requests at
// once, which wait as long as max_wait allows if nobody sets it. One finds a
// place, and the rest is refused; these are to try again before the window has
// passed, within their time.
func TestBurstOfANewcomer(t *testing.T) {
	const calls, least = 20, 4
	for _, latency := range []time.Duration{4 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{rate: hubspotRate}
				ctx, cancel := context.WithCancel(t.Context())
				var greedy, burst sync.WaitGroup
				newClient(s, latency).work(ctx, &greedy, 50, time.Minute, always)
				time.Sleep(3 * hubspotRate.Per)
				newcomer := newClient(s, latency)
				for range calls {
					burst.Go(func() { _ = newcomer.call(ctx, quota.Request{HubID: 1, Wait: 10 * time.Second}) })
				}
				burst.Wait()
				cancel()
				greedy.Wait()
				t.Logf("%d of %d served", len(newcomer.served), calls)
				if len(newcomer.served) < least {
					t.Errorf("%d of %d served, want at least %d", len(newcomer.served), calls, least)
				}
			})
		})
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
			clients[i].limit = hubspot.SearchLimit
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
