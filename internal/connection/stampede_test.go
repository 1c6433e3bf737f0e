package connection_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// timedProvider notes when it was asked.
type timedProvider struct {
	*provider
	mu    sync.Mutex
	asked []time.Time
}

func (p *timedProvider) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	p.mu.Unlock()
	return p.provider.Refresh(ctx, token)
}

func TestTenThousandTokensIssuedAtOnce(t *testing.T) {
	const users, idle, quota = 10_000, 2_000, 10
	synctest.Test(t, func(t *testing.T) {
		store, asked := newMemStore(), &timedProvider{provider: newProvider("r1")}
		m := connection.NewManager(connection.Config{
			App: app, Store: store, Provider: asked, RefreshCount: quota, RefreshPer: time.Second,
		})
		for i := range users {
			store.add(user(i), "r1", 1)
			if _, err := m.Token(t.Context(), user(i)); err != nil {
				t.Fatal(err)
			}
		}
		// These are installed, and nobody calls for them.
		for i := range idle {
			if _, err := m.Connect(t.Context(), install(user(users+i), "r1", 1)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		// More than a life of the tokens, in which each user calls every 20 s.
		for end := time.Now().Add(35 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Second) {
			for i := range users {
				begun := time.Now()
				if _, err := m.Token(t.Context(), fmt.Sprint("user", i)); err != nil {
					t.Fatalf("user%d: %v", i, err)
				}
				if waited := time.Since(begun); waited > 0 {
					t.Fatalf("user%d waited %s, %s after the start, with %d refreshes done", i, waited, time.Since(start), asked.count())
				}
			}
		}
		if err := m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := len(asked.asked); n < users {
			t.Errorf("%d refreshes; want every user's at least once", n)
		}
		slices.SortFunc(asked.asked, time.Time.Compare)
		for i := quota + 1; i < len(asked.asked); i++ {
			if span := asked.asked[i].Sub(asked.asked[i-quota-1]); span < time.Second {
				t.Fatalf("%d calls to the token endpoint in %s; the quota is %d in a second", quota+2, span, quota)
			}
		}
	})
}
