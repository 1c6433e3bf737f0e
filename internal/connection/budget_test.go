package connection_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// meter is a token endpoint that takes so many calls a second, of all that ask
// it together, and answers 429 beyond that.
type meter struct {
	*provider
	mu     sync.Mutex
	limit  int
	second int64
	taken  int
	served int
	denied int
}

func (p *meter) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	p.mu.Lock()
	if now := time.Now().Unix(); now != p.second {
		p.second, p.taken = now, 0
	}
	p.taken++
	over := p.taken > p.limit
	if over {
		p.denied++
	} else {
		p.served++
	}
	p.mu.Unlock()
	if over {
		return hubspot.Grant{}, tooMany(0)
	}
	return p.provider.Refresh(ctx, token)
}

func tooMany(retryAfter time.Duration) error {
	return &hubspot.TokenError{Class: hubspot.ClassTransient, HTTPStatus: 429, RetryAfter: retryAfter}
}

// expired are managers of one store with so many connections, the tokens of
// which have run out.
func expired(t *testing.T, users int, configs ...connection.Config) []*connection.Manager {
	t.Helper()
	store := newMemStore()
	var managers []*connection.Manager
	for _, config := range configs {
		config.App, config.Store = app, store
		m := connection.NewManager(config)
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		managers = append(managers, m)
	}
	for i := range users {
		store.add(user(i), "r1", 1)
	}
	time.Sleep(time.Hour)
	return managers
}

func user(i int) string { return fmt.Sprint("user", i) }

// served has each user ask until it has a token, and returns how long that took.
func served(t *testing.T, users int, managers ...*connection.Manager) time.Duration {
	t.Helper()
	begun := time.Now()
	var done sync.WaitGroup
	for i := range users {
		m := managers[i%len(managers)]
		done.Go(func() {
			for {
				if _, err := m.Token(t.Context(), user(i)); err == nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
	}
	done.Wait()
	return time.Since(begun)
}

func TestARefreshBudgetThatIsNotSetGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 60_000
		p := newProvider("r1")
		m := expired(t, users, connection.Config{Provider: p})[0]
		if got := m.RefreshBudget(); got.PerSecond != 10 || got.Ceiling != 100 || got.Waiting != 0 || !got.HeldUntil.IsZero() {
			t.Errorf("at first: %+v", got)
		}
		for i := range 100 {
			_, _ = m.Token(t.Context(), user(i))
		}
		if got := m.RefreshBudget(); got.PerSecond != 10 {
			t.Errorf("although nobody had to wait: %+v", got)
		}
		early := make(chan connection.RefreshBudget, 2)
		go func() {
			for range 2 {
				time.Sleep(time.Minute)
				early <- m.RefreshBudget()
			}
		}()
		took := served(t, users, m)
		for _, least := range []float64{15, 20} {
			got := <-early
			if got.PerSecond < least || got.PerSecond > least+2 || got.Waiting == 0 {
				t.Errorf("on the way: %+v; want %v to %v a second", got, least, least+2)
			}
		}
		// 10 at first and a tenth more each second make 100 after a quarter of
		// an hour, in which there were 49,500.
		if took < 16*time.Minute || took > 18*time.Minute {
			t.Errorf("all were served after %s", took)
		}
		if got := m.RefreshBudget(); got.PerSecond != 100 {
			t.Errorf("in the end: %+v", got)
		}
		asked := p.triesSince(time.Time{})
		for i := 101; i < len(asked); i++ {
			if span := asked[i].at.Sub(asked[i-101].at); span < time.Second-time.Microsecond {
				t.Fatalf("102 calls in %s", span)
			}
		}
	})
}

// A quota that is set is not exceeded, is halved by 429s, no more than once by
// those of one moment, and comes back by itself.
func TestASetRefreshQuotaIsACeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider("r1")
		m := expired(t, 2_000, connection.Config{Provider: p, RefreshCount: 20, RefreshPer: time.Second})[0]
		begun := time.Now()
		served(t, 1_000, m)
		if got := m.RefreshBudget(); got.PerSecond != 20 || got.Ceiling != 20 {
			t.Errorf("under load: %+v", got)
		}
		if took := time.Since(begun); took < 49*time.Second {
			t.Errorf("1,000 refreshes took %s at 20 a second", took)
		}

		// The answers take so long that two are under way at once.
		p.set(func() { p.err = tooMany(0) })
		for i := range 2 {
			go func() { _, _ = m.Token(t.Context(), user(1_000+i)) }()
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got := m.RefreshBudget(); got.PerSecond < 10 || got.PerSecond > 10.1 {
			t.Errorf("after two 429s of one moment: %+v", got)
		}
		p.set(func() { p.err = nil })
		time.Sleep(25 * time.Second)
		if got := m.RefreshBudget(); got.PerSecond < 14 || got.PerSecond > 16 {
			t.Errorf("25 s later: %+v", got)
		}
		time.Sleep(time.Hour)
		if got := m.RefreshBudget(); got.PerSecond != 20 {
			t.Errorf("an hour later: %+v", got)
		}
	})
}

func TestManySecondsOf429LeaveSomethingToAskWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider("r1")
		m := expired(t, 50, connection.Config{Provider: p})[0]
		p.set(func() { p.err = tooMany(0) })
		go func() {
			time.Sleep(10 * time.Minute)
			if got := m.RefreshBudget(); got.PerSecond < 10.0/64 || got.PerSecond > 3 {
				t.Errorf("after ten minutes of 429s: %+v", got)
			}
			p.set(func() { p.err = nil })
		}()
		if took := served(t, 50, m); took > 12*time.Minute {
			t.Errorf("served after %s, of which 10 minutes were 429s", took)
		}
	})
}

// A Retry-After holds up every refresh of the app, for a minute at the most.
func TestRetryAfterHoldsTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ asked, want time.Duration }{{20 * time.Second, 20 * time.Second}, {time.Hour, time.Minute}} {
			p := newProvider("r1")
			m := expired(t, 2, connection.Config{Provider: p})[0]
			p.set(func() { p.err = tooMany(c.asked) })
			if _, err := m.Token(t.Context(), user(0)); err == nil {
				t.Fatal("a token although HubSpot gave none")
			}
			limited := time.Now()
			if got := m.RefreshBudget().HeldUntil; got.Sub(limited) != c.want {
				t.Errorf("held for %s; want %s", got.Sub(limited), c.want)
			}
			p.set(func() { p.err = nil })
			if _, err := m.Token(t.Context(), user(1)); err != nil {
				t.Fatal(err)
			}
			if asked := p.triesSince(limited)[0].at.Sub(limited); asked != c.want {
				t.Errorf("asked again after %s; want %s", asked, c.want)
			}
			if got := m.RefreshBudget().HeldUntil; !got.IsZero() {
				t.Errorf("still held until %s", got)
			}
		}
	})
}

// Sidecars that share an endpoint which takes less than they may ask together
// find their part of it, and no connection is lost on the way.
func TestSidecarsShareATokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users, limit = 3_000, 12
		p := &meter{provider: newProvider("r1"), limit: limit}
		one := connection.Config{Provider: p}
		managers := expired(t, users, one, one, connection.Config{Provider: p, RefreshCount: 10, RefreshPer: time.Second})
		took := served(t, users, managers...)
		if ideal := users / limit * time.Second; took > ideal*3/2 {
			t.Errorf("%s; the endpoint takes %s for as many", took, ideal)
		}
		if p.served != users {
			t.Errorf("%d refreshes for %d connections", p.served, users)
		}
		if share := float64(p.denied) / float64(p.denied+p.served); share > 0.15 {
			t.Errorf("%.0f %% of the calls were 429s", 100*share)
		}
		for i := range users {
			if m := managers[(i+1)%3]; !tokenOf(t, m, user(i)) {
				t.Fatalf("%s is lost", user(i))
			}
		}
	})
}

// tokenOf reports whether user gets a token.
func tokenOf(t *testing.T, m *connection.Manager, user string) bool {
	t.Helper()
	_, err := m.Token(t.Context(), user)
	return err == nil
}

// Whoever waits for a token comes before those whose tokens live, and no longer
// once nobody waits.
func TestFlightsWithCallersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider("r1")
		m := expired(t, 60, connection.Config{Provider: p, RefreshCount: 1, RefreshPer: time.Second})[0]
		// Half of them have tokens that are due, for which the background asks.
		for i := range 30 {
			if _, err := m.Connect(t.Context(), install(user(i), "r1", 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(26 * time.Minute)
		for i := range 30 {
			if !tokenOf(t, m, user(i)) {
				t.Fatalf("%s has no token", user(i))
			}
		}
		time.Sleep(1500 * time.Millisecond)
		if waiting := m.RefreshBudget().Waiting; waiting < 10 {
			t.Fatalf("%d wait in the background; the test wants more", waiting)
		}
		// Callers that leave at once do not push in.
		for i := range 10 {
			gone, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _ = m.Token(gone, user(40+i))
			cancel()
		}
		begun := time.Now()
		if !tokenOf(t, m, user(55)) {
			t.Fatal("no token")
		}
		if waited := time.Since(begun); waited > 1200*time.Millisecond {
			t.Errorf("a caller waited %s behind those that nobody waits for", waited)
		}
		// One that joins a flight of the background takes it along.
		begun = time.Now()
		if !tokenOf(t, m, user(49)) {
			t.Fatal("no token")
		}
		if waited := time.Since(begun); waited > 1200*time.Millisecond {
			t.Errorf("a caller that joined waited %s", waited)
		}
	})
}
