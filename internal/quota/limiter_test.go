package quota_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

func newLimiter(count int, per time.Duration) *quota.Limiter {
	return quota.NewLimiter(quota.Config{
		Burst:  quota.Rate{Count: count, Per: per},
		Search: quota.Rate{Count: 5, Per: time.Second},
	})
}

// use takes a place that has to be there at once, and answers at once.
func use(t *testing.T, l *quota.Limiter, r quota.Request) {
	t.Helper()
	begun := time.Now()
	ticket, err := l.Acquire(t.Context(), r)
	if err != nil {
		t.Fatalf("acquiring: %v", err)
	}
	if waited := time.Since(begun); waited > 0 {
		t.Fatalf("waited %v below the quota", waited)
	}
	ticket.Answered(hubspot.Usage{})
}

func TestBelowTheQuotaNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(110, 10*time.Second)
		for range 3 {
			for range 110 {
				use(t, l, quota.Request{HubID: 1})
			}
			// Another portal, search, and what HubSpot does not count.
			use(t, l, quota.Request{HubID: 2})
			for range 5 {
				use(t, l, quota.Request{HubID: 1, Limit: hubspot.SearchLimit})
			}
			for range 500 {
				use(t, l, quota.Request{HubID: 1, Limit: hubspot.NoLimit})
			}
			r := refused(t, l, quota.Request{HubID: 1})
			if r.Policy != rolling || r.RetryAfter < 9*time.Second || r.RetryAfter > 11*time.Second {
				t.Errorf("beyond the quota: %+v", r)
			}
			if r := refused(t, l, quota.Request{HubID: 1, Limit: hubspot.SearchLimit}); r.Policy != hubspot.PolicySecondly {
				t.Errorf("beyond the quota of search: %+v", r)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func refused(t *testing.T, l *quota.Limiter, r quota.Request) *quota.Refusal {
	t.Helper()
	_, err := l.Acquire(t.Context(), r)
	return refusal(t, err)
}

// TestNoWindowIsOverfull is the property that the package is there for.
func TestNoWindowIsOverfull(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			rate := quota.Rate{Count: 1 + random.IntN(120), Per: time.Duration(1+random.IntN(10_000)) * time.Millisecond}
			s := &server{rate: rate}
			c := newClient(s, time.Duration(random.Int64N(int64(rate.Per)/10+1)))
			var wg sync.WaitGroup
			for range 1 + random.IntN(5) {
				time.Sleep(time.Duration(random.Int64N(int64(3 * rate.Per))))
				for range random.IntN(2*rate.Count + 2) {
					lane := quota.Lane(random.IntN(2))
					wait := time.Duration(random.Int64N(int64(4 * rate.Per)))
					patience := time.Duration(random.Int64N(int64(4 * rate.Per)))
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						_ = c.call(ctx, quota.Request{HubID: 1, Lane: lane, Wait: wait})
					})
				}
			}
			wg.Wait()
			if len(c.sent) == 0 {
				return
			}
			checkWindow(t, rate, c.sent)
			// Answers come within the slack, so HubSpot has nothing to
			// refuse.
			if _, refused := s.counts(); refused > 0 && c.latency < rate.Per/50 {
				t.Errorf("seed %d: HubSpot refused %d", seed, refused)
			}
		})
	}
}

func TestOrderAndEvenness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Second)
		begun := time.Now()
		for range 10 {
			use(t, l, quota.Request{HubID: 1})
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		var order []int
		var times []time.Duration
		for i := range 20 {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Minute}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order, times = append(order, i), append(times, time.Since(begun))
			})
			synctest.Wait()
		}
		wg.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
		for i, at := range times {
			if even := time.Second + time.Duration(i)*90*time.Millisecond; at < even-time.Millisecond || at > even+150*time.Millisecond {
				t.Errorf("request %d was let go at %v, want %v", i, at, even)
			}
		}
	})
}

func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Second)
		for range 10 {
			use(t, l, quota.Request{HubID: 1})
		}
		begun := time.Now()
		for _, wait := range []time.Duration{0, -1, 100 * time.Millisecond, 900 * time.Millisecond} {
			r := refused(t, l, quota.Request{HubID: 1, Wait: wait})
			if r.RetryAfter < 900*time.Millisecond || r.RetryAfter > 1100*time.Millisecond {
				t.Errorf("wait %v: retry after %v", wait, r.RetryAfter)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := l.Acquire(ctx, quota.Request{HubID: 1, Wait: time.Minute}); err == nil {
			t.Error("the deadline of the context did not count")
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("hopeless requests waited %v", waited)
		}
		// All of a burst whose patience allows it are served, not only
		// those for whom even spacing comes in time.
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Second}); err != nil {
					t.Errorf("within max_wait: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// TestNobodyIsRefusedForThoseAhead has a request wait behind more than can
// come in its time: they may give up.
func TestNobodyIsRefusedForThoseAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		use(t, l, quota.Request{HubID: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := l.Acquire(ctx, quota.Request{HubID: 1, Wait: time.Hour}); !errors.Is(err, context.Canceled) {
					t.Errorf("who gives up: %v", err)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		wait := func(patience time.Duration) (took time.Duration, err error) {
			_, err = l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: patience})
			return time.Since(begun), err
		}
		wg.Go(func() {
			if took, err := wait(2500 * time.Millisecond); err != nil || took > 2500*time.Millisecond {
				t.Errorf("with those ahead gone: %v after %v", err, took)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			took, err := wait(1200 * time.Millisecond)
			if refusal(t, err); took < 1200*time.Millisecond {
				t.Errorf("refused after %v of 1.2s", took)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			took, err := wait(500 * time.Millisecond)
			if refusal(t, err); took > 0 {
				t.Errorf("waited %v for a place that is not free before a second", took)
			}
		})
		time.Sleep(800 * time.Millisecond)
		cancel()
		wg.Wait()
	})
}

// TestEvennessInALongQueue has more requests wait than can be served.
func TestEvennessInALongQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Second)
		for range 10 {
			use(t, l, quota.Request{HubID: 1})
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		var times []time.Duration
		begun := time.Now()
		for range 100 {
			wg.Go(func() {
				_, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: 5 * time.Second})
				mu.Lock()
				defer mu.Unlock()
				if took := time.Since(begun); err == nil {
					times = append(times, took)
				} else if refusal(t, err); took < 5*time.Second {
					t.Errorf("refused after %v", took)
				}
			})
		}
		wg.Wait()
		if len(times) < 38 {
			t.Errorf("%d of 100 were served in five seconds", len(times))
		}
		for i := 1; i < 30; i++ {
			if gap := times[i] - times[i-1]; gap < 75*time.Millisecond || gap > 300*time.Millisecond {
				t.Errorf("request %d was let go %v after the one before", i, gap)
			}
		}
	})
}

// TestBurstBelowTheQuota has a burst for a portal of which nothing is known:
// all that the quota has room for goes at once, before the first answer.
func TestBurstBelowTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(110, 10*time.Second)
		begun := time.Now()
		for range 110 {
			if _, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("waited %v below the quota", waited)
		}
	})
}

func TestWhoGivesUpFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		use(t, l, quota.Request{HubID: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := l.Acquire(ctx, quota.Request{HubID: 1, Wait: time.Minute}); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		wg.Go(func() {
			if _, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: time.Minute}); err != nil {
				t.Error(err)
			}
			if waited := time.Since(begun); waited > 1050*time.Millisecond {
				t.Errorf("waited %v behind those who gave up", waited)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

func TestUnsentIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, time.Second)
		for range 10 {
			ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
			if err != nil {
				t.Fatal(err)
			}
			ticket.Unsent()
		}
		use(t, l, quota.Request{HubID: 1})
		refused(t, l, quota.Request{HubID: 1})
	})
}

func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(100, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		var counts [2]int
		var slowest time.Duration
		work := func(lane quota.Lane, workers int, pause time.Duration) {
			for range workers {
				wg.Go(func() {
					for ctx.Err() == nil {
						begun := time.Now()
						ticket, err := l.Acquire(ctx, quota.Request{HubID: 1, Lane: lane, Wait: time.Minute})
						if err != nil {
							return
						}
						time.Sleep(5 * time.Millisecond)
						ticket.Answered(hubspot.Usage{})
						mu.Lock()
						counts[lane]++
						if lane == quota.Interactive {
							slowest = max(slowest, time.Since(begun))
						}
						mu.Unlock()
						time.Sleep(pause)
					}
				})
			}
		}
		// Batch work alone takes nearly all.
		work(quota.Batch, 50, 0)
		time.Sleep(10 * time.Second)
		mu.Lock()
		if counts[quota.Batch] < 900 {
			t.Errorf("batch work alone: %d of 1000", counts[quota.Batch])
		}
		// A few interactive requests hardly notice it.
		counts = [2]int{}
		mu.Unlock()
		work(quota.Interactive, 5, 250*time.Millisecond)
		time.Sleep(10 * time.Second)
		mu.Lock()
		t.Logf("beside batch work, interactive requests took up to %v", slowest)
		if slowest > 150*time.Millisecond || counts[quota.Interactive] < 180 {
			t.Errorf("%d interactive requests, the slowest in %v", counts[quota.Interactive], slowest)
		}
		// With more interactive requests than there is quota, batch work
		// keeps a tenth.
		counts = [2]int{}
		mu.Unlock()
		work(quota.Interactive, 50, 0)
		time.Sleep(10 * time.Second)
		mu.Lock()
		if counts[quota.Batch] < 90 || counts[quota.Batch] > 130 || counts[quota.Interactive] < 850 {
			t.Errorf("under pressure: interactive and batch %v", counts)
		}
		mu.Unlock()
		cancel()
		wg.Wait()
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.NewLimiter(quota.Config{
			Burst: quota.Rate{Count: 1, Per: time.Second}, Search: quota.Rate{Count: 1, Per: time.Second}, MaxPortals: 10,
		})
		for hubID := range int64(11) {
			use(t, l, quota.Request{HubID: hubID})
		}
		// Portal 0 was forgotten for portal 10, the others are known.
		for hubID := range int64(10) {
			refused(t, l, quota.Request{HubID: hubID + 1})
		}
		use(t, l, quota.Request{HubID: 0})
	})
}

func TestHeadroom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Second)
		if got := l.Headroom(); got != 1 {
			t.Errorf("unused: %v", got)
		}
		for range 4 {
			use(t, l, quota.Request{HubID: 1})
		}
		use(t, l, quota.Request{HubID: 2})
		if got := l.Headroom(); got < 0.59 || got > 0.61 {
			t.Errorf("with 4 of 10 used: %v", got)
		}
		time.Sleep(2 * time.Second)
		if got := l.Headroom(); got != 1 {
			t.Errorf("later: %v", got)
		}
	})
}

func BenchmarkAcquire(b *testing.B) {
	l := newLimiter(1000, 50*time.Microsecond)
	r := quota.Request{HubID: 1, Wait: time.Second}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Acquire(ctx, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequest is all that a request costs here, with HubSpot's headers.
func BenchmarkRequest(b *testing.B) {
	l := newLimiter(1000, 50*time.Microsecond)
	usage := hubspot.Usage{Max: 1000, Remaining: 999, Per: 50 * time.Microsecond}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := l.Acquire(ctx, quota.Request{HubID: 1, Wait: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		ticket.Answered(usage)
	}
}

// A request that HubSpot has refused has another try before its patience ends,
// also where nothing tells of a place.
func TestRefusedRequestsTryBeforeTheyGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(110, 10*time.Second)
		const wait = 8 * time.Second
		begun := time.Now()
		for try := range 3 {
			ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: wait - time.Since(begun), Again: try})
			if err != nil {
				t.Fatalf("try %d, after %v: %v", try+1, time.Since(begun), err)
			}
			ticket.Limited(hubspot.Limited{Policy: rolling})
		}
		if waited := time.Since(begun); waited > wait {
			t.Errorf("the last try was after %v, want it within %v", waited, wait)
		}
	})
}
