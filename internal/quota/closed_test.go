package quota_test

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// TestNothingShutsAPortalForLong has HubSpot, or a box in between, say strange
// things, once and then each time: somebody is let go within a minute and the
// slack of a request on its way, and after good answers all is as before.
func TestNothingShutsAPortalForLong(t *testing.T) {
	const atMost = 62 * time.Second
	usage := func(most, left int, per time.Duration) func(quota.Ticket) {
		return func(ticket quota.Ticket) { ticket.Answered(hubspot.Usage{Max: most, Remaining: left, Per: per}) }
	}
	limited := func(policy string, after time.Duration) func(quota.Ticket) {
		return func(ticket quota.Ticket) { ticket.Limited(hubspot.Limited{Policy: policy, RetryAfter: after}) }
	}
	for name, say := range map[string]func(quota.Ticket){
		"one a day":                     usage(1, 0, 24*time.Hour),
		"all of a day used":             usage(1_000_000, 0, 24*time.Hour),
		"one in a minute":               usage(1, 0, time.Minute),
		"two in a minute, and others":   usage(2, 0, time.Minute),
		"a million, none left":          usage(1_000_000, 0, 10*time.Second),
		"a millisecond":                 usage(1, 0, time.Millisecond),
		"a million in a millisecond":    usage(1_000_000, 0, time.Millisecond),
		"come back tomorrow":            limited("", 24*time.Hour),
		"rolling, come back tomorrow":   limited(rolling, 24*time.Hour),
		"rolling, come back in an age":  limited(rolling, math.MaxInt64),
		"secondly, come back tomorrow":  limited(hubspot.PolicySecondly, 24*time.Hour),
		"a policy of its own, tomorrow": limited("HOURLY", 24*time.Hour),
		"rolling, without a time":       limited(rolling, 0),
		"rolling, a minute":             limited(rolling, time.Minute),
		"daily, tomorrow":               limited(hubspot.PolicyDaily, 24*time.Hour),
		"daily":                         limited(hubspot.PolicyDaily, 0),
		"nothing at all":                quota.Ticket.Unanswered,
		"it did not leave":              quota.Ticket.Unsent,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(110, 10*time.Second)
				for round := range 5 {
					ticket := poll(t, l, atMost)
					time.Sleep(20 * time.Millisecond)
					say(ticket)
					if round > 2 {
						limited(hubspot.PolicyDaily, time.Hour)(poll(t, l, atMost)) // flapping
					}
				}
				// From now on all is well again.
				s := &server{rate: hubspotRate}
				for range 100 {
					ticket := poll(t, l, atMost)
					told, _ := s.arrive()
					ticket.Answered(told)
				}
				time.Sleep(10 * hubspotRate.Per)
				for range 100 {
					use(t, l, quota.Request{HubID: 1})
				}
			})
		})
	}
}

// poll asks without patience, as others do, until there is a place.
func poll(t *testing.T, l *quota.Limiter, atMost time.Duration) quota.Ticket {
	t.Helper()
	begun := time.Now()
	for {
		ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1})
		if err == nil {
			return ticket
		}
		if r := refusal(t, err); r.RetryAfter > atMost {
			t.Errorf("a client is told to come in %v", r.RetryAfter)
		}
		if time.Since(begun) > atMost {
			t.Fatalf("nobody was let go in %v", time.Since(begun))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestRefusalsOnTheirWay has slow refusals come one after the other, of
// requests that were sent together.
func TestRefusalsOnTheirWay(t *testing.T) {
	for _, policy := range []string{rolling, hubspot.PolicyDaily} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(110, 10*time.Second)
			tickets := make([]quota.Ticket, 50)
			for i := range tickets {
				tickets[i] = poll(t, l, 0)
			}
			go func() {
				for _, ticket := range tickets {
					ticket.Limited(hubspot.Limited{Policy: policy, RetryAfter: time.Minute})
					time.Sleep(time.Second)
				}
			}()
			synctest.Wait()
			poll(t, l, 61*time.Second)
		})
	}
}

// TestOneAtATimeFindsOut has HubSpot ask for a day: of those who wait, one goes
// after a minute, and the others once it has come through.
func TestOneAtATimeFindsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(110, 10*time.Second)
		begun := time.Now()
		limit(t, l, hubspot.BurstLimit, hubspot.Limited{Policy: rolling, RetryAfter: 24 * time.Hour})
		tickets := make(chan quota.Ticket, 10)
		var wg sync.WaitGroup
		for range cap(tickets) {
			wg.Go(func() {
				ticket, err := l.Acquire(t.Context(), quota.Request{HubID: 1, Wait: 10 * time.Minute})
				if err != nil {
					t.Error(err)
				}
				tickets <- ticket
			})
		}
		probe := <-tickets
		if waited := time.Since(begun); waited != time.Minute {
			t.Errorf("the first one went after %v", waited)
		}
		time.Sleep(30 * time.Second)
		if len(tickets) > 0 {
			t.Error("another one went before the first one was answered")
		}
		probe.Limited(hubspot.Limited{Policy: rolling, RetryAfter: 24 * time.Hour})
		probe = <-tickets
		if waited := time.Since(begun); waited != 150*time.Second {
			t.Errorf("the second one went after %v", waited)
		}
		// Without an answer the next one finds out.
		probe.Unanswered()
		probe = <-tickets
		probe.Answered(hubspot.Usage{})
		wg.Wait()
		if waited := time.Since(begun); waited > 170*time.Second {
			t.Errorf("all have gone after %v", waited)
		}
	})
}

func TestStatesAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, 10*time.Second)
		if got := l.States(0); len(got) != 0 || l.Reset(1) || !l.Reset(0) {
			t.Errorf("nothing is known: %+v", got)
		}
		use(t, l, quota.Request{HubID: 2})
		use(t, l, quota.Request{HubID: 1, Limit: hubspot.SearchLimit})
		onItsWay := poll(t, l, 0)
		said := hubspot.Limited{Policy: rolling, RetryAfter: time.Hour}
		limit(t, l, hubspot.BurstLimit, said)
		ctx := t.Context()
		done := make(chan error)
		go func() {
			_, err := l.Wait(ctx, quota.Request{HubID: 1, Wait: time.Hour})
			done <- err
		}()
		synctest.Wait()
		got := l.States(0)
		if len(got) != 3 || got[0].HubID != 1 || got[1].Limit != hubspot.SearchLimit || got[2].HubID != 2 {
			t.Fatalf("states: %+v", got)
		}
		burst := got[0]
		if burst.ClosedFor != time.Minute || burst.Said != said || !burst.Probing || burst.Waiting != 1 || burst.Used != 2 || burst.Left != 0 || burst.Rate.Per != 10*time.Second || !burst.Shared {
			t.Errorf("a closed one: %+v", burst)
		}
		if free := got[2]; free != (quota.State{HubID: 2, Rate: quota.Rate{Count: 10, Per: 10 * time.Second}, Used: 1, Left: 9}) {
			t.Errorf("an open one: %+v", free)
		}
		if !l.Reset(1) || l.Reset(3) {
			t.Error("who is known was not reset, or who is not was")
		}
		if err := <-done; err != nil {
			t.Errorf("who waited: %v", err)
		}
		// What was said to those that were on their way is of then.
		onItsWay.Limited(hubspot.Limited{Policy: hubspot.PolicyDaily})
		if got := l.States(1)[0]; got.ClosedFor != 0 || got.Probing || got.Shared || got.Used != 3 || got.Left != 7 || got.Waiting != 0 {
			t.Errorf("after the reset: %+v", got)
		}
	})
}
