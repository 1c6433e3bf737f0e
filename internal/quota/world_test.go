package quota_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

var hubspotRate = quota.Rate{Count: 110, Per: 10 * time.Second}

// server is HubSpot's rolling window of one portal. Refused requests do not
// count.
type server struct {
	rate quota.Rate
	// silent servers send no headers, as search does.
	silent bool

	mu       sync.Mutex
	accepted []time.Time
	refused  int
}

// arrive handles a request that arrives now.
func (s *server) arrive() (usage hubspot.Usage, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	used := 0
	for i := len(s.accepted) - 1; i >= 0 && now.Sub(s.accepted[i]) < s.rate.Per; i-- {
		used++
	}
	if used >= s.rate.Count {
		s.refused++
		return hubspot.Usage{}, false
	}
	s.accepted = append(s.accepted, now)
	if s.silent {
		return hubspot.Usage{}, true
	}
	return hubspot.Usage{Max: s.rate.Count, Remaining: s.rate.Count - used - 1, Per: s.rate.Per}, true
}

func (s *server) counts() (accepted, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted), s.refused
}

// client is a sidecar: it sends through a limiter and tries again after a
// refusal, up to three times.
type client struct {
	limiter *quota.Limiter
	server  *server
	limit   hubspot.Limit
	// latency is the mean time there and back.
	latency time.Duration

	mu     sync.Mutex
	sent   []time.Time
	served []time.Time
	failed int
}

func (c *client) call(ctx context.Context, r quota.Request) error {
	r.Limit = c.limit
	deadline := time.Now().Add(r.Wait)
	for try := 1; ; try++ {
		ticket, err := c.limiter.Acquire(ctx, r)
		if err != nil {
			return err
		}
		c.note(&c.sent)
		time.Sleep(c.delay())
		usage, ok := c.server.arrive()
		time.Sleep(c.delay())
		if ok {
			ticket.Answered(usage)
			c.note(&c.served)
			return nil
		}
		ticket.Limited(hubspot.Limited{})
		if try == 3 {
			return errors.New("refused three times")
		}
		r.Again, r.Wait = try, time.Until(deadline)
	}
}

func (c *client) note(times *[]time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*times = append(*times, time.Now())
}

// delay is one way of the latency: half of it, more or less.
func (c *client) delay() time.Duration {
	return time.Duration(float64(c.latency) / 2 * (0.5 + rand.Float64()))
}

// servedSince counts the requests served after t.
func (c *client) servedSince(t time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, at := range c.served {
		if at.After(t) {
			n++
		}
	}
	return n
}

// work has workers make one call after the other until ctx ends or next says
// that there is none.
func (c *client) work(ctx context.Context, wg *sync.WaitGroup, workers int, wait time.Duration, next func() bool) {
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil && next() {
				if err := c.call(ctx, quota.Request{HubID: 1, Wait: wait}); err != nil && ctx.Err() == nil {
					c.mu.Lock()
					c.failed++
					c.mu.Unlock()
					time.Sleep(time.Second)
				}
			}
		})
	}
}

func always() bool { return true }

// upTo returns a function that says true n times.
func upTo(n int) func() bool {
	var mu sync.Mutex
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		n--
		return n >= 0
	}
}

func newClient(s *server, latency time.Duration) *client {
	return &client{
		limiter: quota.NewLimiter(quota.Config{Burst: s.rate, Search: s.rate}),
		server:  s, latency: latency,
	}
}

// checkWindow checks that no span of the rate has too many times in it.
func checkWindow(t *testing.T, rate quota.Rate, times []time.Time) {
	t.Helper()
	for i := rate.Count; i < len(times); i++ {
		if d := times[i].Sub(times[i-rate.Count]); d < rate.Per {
			t.Fatalf("%d requests within %v", rate.Count+1, d)
		}
	}
}

func refusal(t *testing.T, err error) *quota.Refusal {
	t.Helper()
	r, ok := errors.AsType[*quota.Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return r
}

const rolling = hubspot.PolicyTenSecondlyRolling
