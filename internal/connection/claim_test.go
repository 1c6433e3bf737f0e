package connection_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestOneRefreshPerExpiryAcrossProcesses(t *testing.T) {
	for _, rotating := range []bool{false, true} {
		t.Run(fmt.Sprintf("rotating=%v", rotating), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, provider := newMemStore(), newProvider("r1")
				provider.rotating = rotating
				var fleet []*bench
				for range 6 {
					fleet = append(fleet, newBench(t, store, provider))
				}
				fleet[0].connect(t, "acme", "r1", 1)
				const expiries = 50
				for n := 1; n <= expiries; n++ {
					time.Sleep(2 * time.Hour) // all find it expired at once
					before := provider.count()
					var wg sync.WaitGroup
					for _, b := range fleet {
						wg.Go(func() {
							if _, err := b.Token(t.Context(), "acme"); err != nil {
								t.Errorf("Token() = %v", err)
							}
						})
					}
					wg.Wait()
					if got := provider.count() - before; got != 1 {
						t.Fatalf("expiry %d: %d refreshes; want 1", n, got)
					}
				}
				if provider.overlaps != 0 {
					t.Errorf("%d calls to HubSpot overlapped", provider.overlaps)
				}
			})
		})
	}
}

func TestClaimOfADeadProcessIsTakenOver(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.useFor(t, "acme", time.Minute, 10*time.Second)
		b.store.set(func(r *connection.Record) { r.Claim = &connection.Claim{ID: "of the dead", Owner: "gone"} }, "acme")
		// While the old token lives, nobody notices.
		b.useFor(t, "acme", 2*time.Hour, 10*time.Second)
		if b.events.count(connection.EventClaimTaken) != 1 {
			t.Errorf("%d takeovers; want 1", b.events.count(connection.EventClaimTaken))
		}
	})
}

func TestClaimThatMovesIsNotTakenOver(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		claimed := make(chan struct{})
		go func() {
			// Another process that is slow, but alive: it claims again and again.
			defer close(claimed)
			for n := range 4 {
				b.store.set(func(r *connection.Record) { r.Claim = &connection.Claim{ID: fmt.Sprint("slow", n)} }, "acme")
				time.Sleep(20 * time.Second)
			}
			b.store.set(func(r *connection.Record) {
				r.Claim = nil
				r.AccessToken = secret.New("of the slow one")
				r.IssuedAt, r.ExpiresAt = time.Now(), time.Now().Add(30*time.Minute)
			}, "acme")
		}()
		synctest.Wait()
		before := b.provider.count()
		b.want(t, "acme", "of the slow one")
		<-claimed
		if n := b.provider.count() - before; n != 0 {
			t.Errorf("%d refreshes beside a living claim; want 0", n)
		}
	})
}

func TestSlowClaimWriteIsAbandoned(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		before := b.provider.count()
		var slow sync.Once
		b.store.configure(func() {
			b.store.beforeSave = func(r connection.Record) {
				if r.Claim != nil {
					slow.Do(func() { time.Sleep(11 * time.Second) }) // more than a third of the lease
				}
			}
		})
		begun := time.Now()
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited < 30*time.Second {
			t.Errorf("HubSpot was asked %s after a claim that took too long; want the lease to pass first", waited)
		}
		if n := b.provider.count() - before; n != 1 {
			t.Errorf("%d refreshes; want 1", n)
		}
	})
}

func TestLostAnswersOfTheStore(t *testing.T) {
	for name, lost := range map[string]error{"conflict": connection.ErrConflict, "unavailable": connection.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n := 0
				b.store.configure(func() {
					b.store.loseAnswer = func() error {
						if n++; n%2 == 1 {
							return lost
						}
						return nil
					}
				})
				b.provider.set(func() { b.provider.rotating = true })
				b.useFor(t, "acme", 12*time.Hour, time.Minute)
				if b.provider.overlaps != 0 || b.events.count(connection.EventDoubleRefresh) != 0 {
					t.Error("a lost answer led to a double refresh")
				}
				if n := b.events.count(connection.EventClaimTaken); n != 0 {
					t.Errorf("%d claims were left to run out; want this process to know its own", n)
				}
			})
		})
	}
}

func TestResultMeetsAnotherWriter(t *testing.T) {
	inFlight := func(t *testing.T, b *bench, meanwhile func()) {
		t.Helper()
		time.Sleep(time.Hour)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = b.Token(t.Context(), "acme")
		}()
		time.Sleep(50 * time.Millisecond) // HubSpot answers after 100 ms
		meanwhile()
		<-done
	}
	t.Run("who changed another field", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			inFlight(t, b, func() {
				b.store.set(func(r *connection.Record) { r.Extra = map[string]string{"note": "kept"} }, "acme")
			})
			stored := b.store.get("acme")
			newest := fmt.Sprintf("access-r1-%d", b.provider.count())
			if stored.AccessToken.Reveal() != newest || stored.Extra["note"] != "kept" {
				t.Errorf("stored %s with %v; want %s and the note", stored.AccessToken.Reveal(), stored.Extra, newest)
			}
		})
	})
	t.Run("who installed anew", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			other := newBench(t, b.store, b.provider)
			inFlight(t, b, func() { other.connect(t, "acme", "r2", 1) })
			if got := b.store.get("acme").RefreshToken.Reveal(); got != "r2" {
				t.Errorf("stored %s; want the new install's r2", got)
			}
			b.want(t, "acme", "first-r2")
		})
	})
	t.Run("who disconnected", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			inFlight(t, b, func() {
				b.store.set(func(r *connection.Record) {
					*r = connection.Record{Key: r.Key, Status: connection.StatusDisconnected, ConnectedAt: r.ConnectedAt}
				}, "acme")
			})
			stored := b.store.get("acme")
			if stored.Status != connection.StatusDisconnected || !stored.AccessToken.IsZero() || !stored.RefreshToken.IsZero() {
				t.Errorf("a refresh brought a disconnected user back: %s", stored.Status)
			}
			b.wantErr(t, "acme", connection.ErrNotConnected)
		})
	})
}

func TestAnswerOfALaggingStoreIsIgnored(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		old := b.store.get("acme")
		b.connect(t, "acme", "r1", 1)
		want, err := b.Token(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		b.store.configure(func() {
			old.AccessToken = secret.New("stale")
			b.store.records[old.Key] = old
		})
		if _, err := b.Get(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		b.want(t, "acme", want.Access.Reveal())
	})
}

func TestDeadGrantIsReadAgainFirst(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		done := make(chan error)
		go func() {
			_, err := b.Token(t.Context(), "acme")
			done <- err
		}()
		time.Sleep(50 * time.Millisecond)
		// Another process has rotated the refresh token in the meantime.
		b.store.set(func(r *connection.Record) {
			r.RefreshToken, r.AccessToken = secret.New("r2"), secret.New("of r2")
			r.IssuedAt, r.ExpiresAt = time.Now(), time.Now().Add(30*time.Minute)
			r.Claim = nil
		}, "acme")
		if err := <-done; err != nil {
			t.Errorf("Token() = %v; want the other process's token", err)
		}
		b.want(t, "acme", "of r2")
		if b.store.get("acme").Status != connection.StatusActive {
			t.Error("a living connection was called dead")
		}
	})
}

// TestStoreOutage has a store that does not answer, and one whose policy lets
// nothing be read or written any more: those who are connected notice neither.
func TestStoreOutage(t *testing.T) {
	for name, kind := range map[string]error{"unavailable": connection.ErrUnavailable, "denied": connection.ErrDenied} {
		t.Run(name, func(t *testing.T) { testStoreOutage(t, kind) })
	}
}

func testStoreOutage(t *testing.T, kind error) {
	down := fmt.Errorf("reading: %w", kind)
	t.Run("known connections go on and are written down later", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.want(t, "acme", "first-r1")
			b.store.failWith(down)
			b.useFor(t, "acme", 3*time.Hour, 30*time.Second)
			b.wantErr(t, "stranger", kind)
			if b.events.count(connection.EventWritePending) == 0 {
				t.Error("nothing said that tokens are in memory only")
			}
			b.store.heal()
			time.Sleep(2 * time.Minute)
			newest := fmt.Sprintf("access-r1-%d", b.provider.count())
			if got := b.store.get("acme").AccessToken.Reveal(); got != newest {
				t.Errorf("after the outage the store has %s; want %s", got, newest)
			}
			if b.events.count(connection.EventWriteRecovered) == 0 {
				t.Error("nothing said that the write was made up for")
			}
		})
	})
	t.Run("a grant that rotates is not gambled with", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.provider.set(func() { b.provider.rotating = true })
			b.useFor(t, "acme", time.Hour, 30*time.Second)
			before := b.provider.count()
			b.store.failWith(down)
			for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Minute) {
				if _, err := b.Token(t.Context(), "acme"); err != nil &&
					(!errors.Is(err, kind) || !errors.Is(err, connection.ErrRefreshNeedsStore)) {
					t.Fatalf("Token() = %v; want what keeps a known connection waiting", err)
				}
			}
			b.wantErr(t, "acme", connection.ErrRefreshNeedsStore)
			if _, err := b.Token(t.Context(), "stranger"); !errors.Is(err, kind) || errors.Is(err, connection.ErrRefreshNeedsStore) {
				t.Errorf("Token() of an unknown connection = %v; want the store's error alone", err)
			}
			if n := b.provider.count() - before; n != 0 {
				t.Errorf("%d refreshes while nothing could be written; want 0", n)
			}
			b.store.heal()
			time.Sleep(time.Minute)
			if _, err := b.Token(t.Context(), "acme"); err != nil {
				t.Errorf("Token() after the outage = %v", err)
			}
		})
	})
	t.Run("a store that can be read and not written is as good as away", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.provider.set(func() { b.provider.rotating = true })
			b.useFor(t, "acme", time.Hour, 30*time.Second)
			b.store.configure(func() {
				b.store.fail = func(op string) error {
					if op == "save" {
						return down
					}
					return nil
				}
			})
			defer b.store.heal()
			time.Sleep(time.Hour)
			before := b.provider.count()
			b.wantErr(t, "acme", connection.ErrRefreshNeedsStore)
			if n := b.provider.count() - before; n != 0 {
				t.Errorf("%d refreshes while nothing could be written; want 0", n)
			}
		})
	})
	t.Run("what HubSpot says comes before the store", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.store.failWith(down)
			defer b.store.heal()
			b.provider.set(func() { b.provider.err = &hubspot.TokenError{HTTPStatus: 429, RetryAfter: time.Hour} })
			time.Sleep(31 * time.Minute)
			for range 2 { // refused, and held back
				_, err := b.Token(t.Context(), "acme")
				if !errors.Is(err, connection.ErrTokenUnavailable) || errors.Is(err, connection.ErrUnavailable) {
					t.Errorf("Token() of a known connection = %v; want ErrTokenUnavailable alone", err)
				}
			}
		})
	})
	t.Run("a newer result of another process stays", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.store.failWith(down)
			b.useFor(t, "acme", 31*time.Minute, 30*time.Second) // refreshed without a claim
			b.store.configure(func() { b.store.fail = nil })
			b.store.set(func(r *connection.Record) {
				r.AccessToken = secret.New("of another")
				r.IssuedAt, r.ExpiresAt = time.Now(), time.Now().Add(30*time.Minute)
			}, "acme")
			time.Sleep(10 * time.Second)
			if got := b.store.get("acme").AccessToken.Reveal(); got != "of another" {
				t.Errorf("%s was written over a newer token", got)
			}
			b.want(t, "acme", "of another")
		})
	})
	t.Run("another process's claim stays", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.store.failWith(down)
			b.useFor(t, "acme", 31*time.Minute, 30*time.Second) // refreshed without a claim
			b.store.configure(func() { b.store.fail = nil })
			b.store.set(func(r *connection.Record) { r.Claim = &connection.Claim{ID: "of another"} }, "acme")
			time.Sleep(10 * time.Second)
			stored := b.store.get("acme")
			newest := fmt.Sprintf("access-r1-%d", b.provider.count())
			if stored.AccessToken.Reveal() != newest || stored.Claim == nil {
				t.Errorf("stored %s, claim %v; want %s and the other's claim", stored.AccessToken.Reveal(), stored.Claim, newest)
			}
		})
	})
	t.Run("the store vanishes between claim and result", func(t *testing.T) {
		in(t, func(t *testing.T, b *bench) {
			b.provider.set(func() { b.provider.rotating = true })
			time.Sleep(time.Hour)
			done := make(chan error)
			go func() {
				_, err := b.Token(t.Context(), "acme")
				done <- err
			}()
			time.Sleep(50 * time.Millisecond)
			b.store.failWith(down)
			if err := <-done; err != nil {
				t.Errorf("Token() = %v; want the token in hand", err)
			}
			b.store.heal()
			time.Sleep(time.Minute)
			if stored := b.store.get("acme"); !b.provider.valid[stored.RefreshToken.Reveal()] {
				t.Error("the rotated refresh token was lost")
			}
		})
	})
}
