package connection_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// copies is a Fallback in memory.
type copies struct {
	mu     sync.Mutex
	kept   map[connection.Key]connection.Versioned
	at     map[connection.Key]time.Time
	writes int
}

func newCopies() *copies {
	return &copies{kept: make(map[connection.Key]connection.Versioned), at: make(map[connection.Key]time.Time)}
}

func (c *copies) Keep(v connection.Versioned) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	c.kept[v.Key], c.at[v.Key] = v, time.Now()
	return nil
}

func (c *copies) Recall(key connection.Key) (connection.Versioned, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.kept[key]
	if !ok {
		return v, time.Time{}, connection.ErrNotFound
	}
	return v, c.at[key], nil
}

func (c *copies) Forget(key connection.Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, key)
	return nil
}

// withCopies is a Manager with a fallback.
func withCopies(t *testing.T, store *memStore, p *provider, c *copies) *bench {
	t.Helper()
	events := &recorder{}
	m := connection.NewManager(connection.Config{App: app, Store: store, Provider: p, Observer: events, Fallback: c})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return &bench{m, store, p, events}
}

func TestRestartWhileTheStoreIsDown(t *testing.T) {
	down := fmt.Errorf("reading: %w", connection.ErrUnavailable)
	for _, rotating := range []bool{false, true} {
		t.Run(fmt.Sprintf("rotating=%v", rotating), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, provider, kept := newMemStore(), newProvider("r1"), newCopies()
				first := withCopies(t, store, provider, kept)
				first.connect(t, "acme", "r1", 1)
				first.want(t, "acme", "first-r1")
				provider.set(func() { provider.rotating = rotating })
				store.failWith(down)
				// Without having seen it rotate, it is refreshed without a claim.
				first.useFor(t, "acme", 40*time.Minute, time.Minute)
				token, err := first.Token(t.Context(), "acme")
				if err != nil {
					t.Fatal(err)
				}

				second := withCopies(t, store, provider, kept) // the first is killed
				second.want(t, "acme", token.Access.Reveal())
				second.wantErr(t, "stranger", connection.ErrUnavailable)
				if second.events.count(connection.EventFallbackUsed) != 1 {
					t.Error("nothing said that a copy is in use")
				}
				store.heal()
				second.useFor(t, "acme", time.Minute, time.Second)
				// By now it may have been refreshed again, but not from the store's old token.
				if stored := store.get("acme"); stored.IssuedAt.Before(token.ExpiresAt.Add(-provider.life)) || !provider.accepts(stored.RefreshToken) {
					t.Errorf("after the outage the store has %s; want %s or a later one", stored.AccessToken.Reveal(), token.Access.Reveal())
				}
				second.useFor(t, "acme", 2*time.Hour, time.Minute)
			})
		})
	}
}

func TestCopyIsNotUsedWhileTheStoreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kept := newMemStore(), newCopies()
		b := withCopies(t, store, newProvider("r1"), kept)
		b.connect(t, "acme", "r1", 1)
		if _, err := b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		if len(kept.kept) != 0 {
			t.Error("the copy of a disconnected user was kept")
		}
		b.connect(t, "acme", "r2", 1)
		again := withCopies(t, store, newProvider(), kept)
		store.set(func(r *connection.Record) { r.Status = connection.StatusReauthRequired; r.ExpiresAt = time.Now() }, "acme")
		again.wantErr(t, "acme", connection.ErrReauthRequired)
	})
}

func TestCopyOfAnUnchangedRecordIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kept := newMemStore(), newCopies()
		b := withCopies(t, store, newProvider("r1"), kept)
		b.connect(t, "acme", "r1", 1)
		b.useFor(t, "acme", 14*time.Minute, 10*time.Second) // read again twice
		if kept.writes != 1 {
			t.Errorf("%d copies of one record; want 1", kept.writes)
		}
	})
}
