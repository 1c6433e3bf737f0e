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

// asking has a number of workers of one caller and token ask without a pause,
// and counts what they get.
type asking struct {
	request quota.Request
	workers int

	mu      sync.Mutex
	served  int
	failed  int
	slowest time.Duration
}

func (a *asking) run(ctx context.Context, wg *sync.WaitGroup, l *quota.Limiter) {
	a.request.HubID = 1
	for range a.workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				ticket, err := l.Acquire(ctx, a.request)
				if err == nil {
					time.Sleep(20 * time.Millisecond)
					ticket.Unanswered()
				}
				a.mu.Lock()
				switch {
				case err == nil:
					a.served++
				case ctx.Err() == nil:
					a.failed++
				}
				a.slowest = max(a.slowest, time.Since(begun))
				a.mu.Unlock()
			}
		})
	}
}

// counts returns and forgets what was counted.
func (a *asking) counts() (served, failed int, slowest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	served, failed, slowest = a.served, a.failed, a.slowest
	a.served, a.failed, a.slowest = 0, 0, 0
	return served, failed, slowest
}

// play has all of them ask for some windows, and counts those after the second.
func play(t *testing.T, windows int, all ...*asking) {
	l := newLimiter(110, 10*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, a := range all {
		a.run(ctx, &wg, l)
	}
	time.Sleep(2 * hubspotRate.Per)
	for _, a := range all {
		a.counts()
	}
	time.Sleep(time.Duration(windows) * hubspotRate.Per)
	for _, a := range all {
		a.workers = 0
	}
	cancel()
	wg.Wait()
}

// TestTurns has callers and user tokens want more than there is: each caller
// gets its share of the portal, and each token its part of that, however many
// requests wait.
func TestTurns(t *testing.T) {
	type party struct {
		caller, token string
		weight        int
		workers       int
		want          float64
	}
	many := make([]party, 0, 101)
	for i := range 100 {
		many = append(many, party{"crm", fmt.Sprint(i), 0, 2, 0.005})
	}
	for name, parties := range map[string][]party{
		"alike":              {{"crm", "", 0, 350, 0.5}, {"bi", "", 0, 20, 0.5}},
		"by weight":          {{"crm", "", 3, 350, 0.75}, {"bi", "", 1, 100, 0.25}},
		"tokens of a caller": {{"crm", "a", 0, 350, 0.25}, {"crm", "b", 0, 20, 0.25}, {"bi", "", 0, 20, 0.5}},
		"a key and a token":  {{"crm", "", 0, 20, 0.5}, {"crm", "a", 0, 350, 0.5}},
		"many tokens":        append(many, party{"bi", "", 0, 20, 0.5}),
		"one at a time":      {{"crm", "", 0, 350, 0.5}, {"bi", "", 0, 1, 0.5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := make([]*asking, len(parties))
				for i, p := range parties {
					all[i] = &asking{workers: p.workers, request: quota.Request{Caller: p.caller, Token: p.token, Weight: p.weight, Wait: 5 * time.Minute}}
				}
				const windows = 20
				play(t, windows, all...)
				for i, p := range parties {
					got := float64(all[i].served) / windows / float64(hubspotRate.Count)
					if got < p.want*0.93-0.001 || got > p.want*1.05+0.001 {
						t.Errorf("%s %s got %.3f, want %.3f", p.caller, p.token, got, p.want)
					}
					if testing.Verbose() && len(parties) < 10 {
						t.Logf("%s %s got %.3f, the slowest took %v", p.caller, p.token, got, all[i].slowest)
					}
				}
			})
		})
	}
}

// TestALoudTokenStarvesNobody has one user token with 350 calls in parallel,
// which give up after ten seconds and come again, and a caller that makes one
// call after the other.
func TestALoudTokenStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 10 * time.Second
		loud := &asking{workers: 350, request: quota.Request{Caller: "crm", Token: "t1", Wait: patience}}
		quiet := &asking{workers: 1, request: quota.Request{Caller: "bi", Wait: patience}}
		batch := &asking{workers: 20, request: quota.Request{Caller: "bi", Wait: patience, Lane: quota.Batch}}
		play(t, 20, loud, quiet, batch)
		t.Logf("loud %d, %d failed; quiet %d, %d failed, slowest %v; its batch %d, %d failed", loud.served, loud.failed, quiet.served, quiet.failed, quiet.slowest, batch.served, batch.failed)
		if quiet.failed > 0 || quiet.slowest > time.Second || quiet.served < 900 {
			t.Errorf("the quiet one got %d, %d failed, the slowest took %v", quiet.served, quiet.failed, quiet.slowest)
		}
		if batch.served < 50 {
			t.Errorf("batch work beside it got %d", batch.served)
		}
	})
}
