package connection_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// disconnect ends a connection and wants a receipt.
func (b *bench) disconnect(t *testing.T, user string, o connection.DisconnectOptions, revoked, uninstalled connection.Outcome) {
	t.Helper()
	receipt, err := b.Disconnect(t.Context(), user, o)
	if err != nil {
		t.Fatalf("Disconnect(%s) = %v", user, err)
	}
	if receipt.User != user || receipt.Revoked != revoked || receipt.Uninstalled != uninstalled || !receipt.Destroyed {
		t.Errorf("Disconnect(%s) = %+v; want revoked %s, uninstalled %s, destroyed", user, receipt, revoked, uninstalled)
	}
}

func (b *bench) wantEnded(t *testing.T, revoked, uninstalled int) {
	t.Helper()
	if r, u := b.provider.ended(); len(r) != revoked || len(u) != uninstalled {
		t.Errorf("revoked %q and uninstalled with %q; want %d and %d", r, u, revoked, uninstalled)
	}
}

// wantGone holds that nothing is left of a user but a tombstone.
func wantGone(t *testing.T, store *memStore, user string) {
	t.Helper()
	stored := store.get(user)
	if stored.Status != connection.StatusDisconnected {
		t.Errorf("%s is %s; want disconnected", user, stored.Status)
	}
	for field, value := range stored.Encode() {
		if strings.Contains(value, "r1") || strings.Contains(value, "first-") {
			t.Errorf("field %s of the tombstone has a token: %s", field, value)
		}
	}
	if keep := store.erased[connection.Key{App: app, User: user}]; keep != stored.Version {
		t.Errorf("versions before %d erased; want all before %d", keep, stored.Version)
	}
	if board := store.sheets[app+"/board"].text; strings.Contains(board, "disconnects") {
		t.Errorf("the disconnect is still on the board: %s", board)
	}
}

// HubSpot being away keeps nobody connected, and what is left is done by
// another process, after a restart of all of them.
func TestDisconnectWhileHubSpotIsAway(t *testing.T) {
	uninstall := connection.DisconnectOptions{Uninstall: true}
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.err = transient() })
		b.disconnect(t, "acme", uninstall, connection.OutcomePending, connection.OutcomePending)
		b.wantErr(t, "acme", connection.ErrNotConnected)
		shown, err := b.Get(t.Context(), "acme")
		if err != nil || shown.Status != connection.StatusDisconnecting || shown.Receipt == nil || shown.Receipt.Revoked != connection.OutcomePending {
			t.Errorf("Get() = %+v, %v; want disconnecting with a receipt", shown, err)
		}
		b.disconnect(t, "acme", uninstall, connection.OutcomePending, connection.OutcomePending)
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}

		next := newBench(t, b.store, b.provider)
		next.wantErr(t, "acme", connection.ErrNotConnected)
		next.Follow()
		time.Sleep(2 * time.Hour) // the access token has run out long since
		if n, _ := next.Disconnecting(); n == 0 {
			t.Error("the disconnect is not counted")
		}
		next.wantEnded(t, 0, 0)
		next.provider.set(func() { next.provider.err = nil })
		time.Sleep(time.Minute)
		next.wantEnded(t, 1, 1)
		wantGone(t, b.store, "acme")
		if _, err := next.Get(t.Context(), "acme"); !errors.Is(err, connection.ErrNotConnected) {
			t.Errorf("Get() = %v; want ErrNotConnected", err)
		}
		time.Sleep(time.Minute)
		if n, _ := next.Disconnecting(); n != 0 {
			t.Errorf("%d disconnects are counted; want none", n)
		}
	})
}

func TestUninstallOutcomes(t *testing.T) {
	uninstall := connection.DisconnectOptions{Uninstall: true}
	for name, tc := range map[string]struct {
		prepare              func(b *bench)
		revoked, uninstalled connection.Outcome
		revokes, uninstalls  int
	}{
		"at once":       {func(*bench) {}, connection.OutcomeDone, connection.OutcomeDone, 1, 1},
		"expired token": {func(*bench) { time.Sleep(time.Hour) }, connection.OutcomeDone, connection.OutcomeDone, 1, 1},
		"dead grant": {func(b *bench) {
			time.Sleep(time.Hour)
			b.provider.set(func() { clear(b.provider.valid) })
		}, connection.OutcomeDone, connection.OutcomeDone, 1, 0},
		"refused for good": {func(b *bench) {
			b.provider.set(func() { b.provider.uninstallErr = &hubspot.UninstallError{HTTPStatus: 403, Final: true} })
		}, connection.OutcomeDone, connection.OutcomeRefused, 1, 0},
		"HubSpot's uninstall is away": {func(b *bench) {
			b.provider.set(func() { b.provider.uninstallErr = &hubspot.UninstallError{HTTPStatus: 502} })
		}, connection.OutcomePending, connection.OutcomePending, 0, 0},
		"a sibling on the portal, with a grant of its own": {func(b *bench) {
			b.store.add("sister", "r2", 1) // from before there was a ledger
		}, connection.OutcomeDone, connection.OutcomeShared, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				tc.prepare(b)
				b.disconnect(t, "acme", uninstall, tc.revoked, tc.uninstalled)
				b.wantEnded(t, tc.revokes, tc.uninstalls)
			})
		})
	}
}

// Connections from before there was a ledger count, whether this process knows
// them or not.
func TestDisconnectInAnExistingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := newMemStore(), newProvider("r1")
		for i := range 500 {
			store.add(user(i), fmt.Sprint("own", i), int64(100+i))
		}
		store.add("acme", "r1", 1)
		store.add("sister", "r1", 1)
		b := newBench(t, store, p)
		b.disconnect(t, "acme", connection.DisconnectOptions{}, connection.OutcomeShared, connection.OutcomeNotAsked)
		b.disconnect(t, "sister", connection.DisconnectOptions{}, connection.OutcomeDone, connection.OutcomeNotAsked)
		b.wantEnded(t, 1, 0)
	})
}

// Two processes disconnect the two users of a grant at the same time: exactly
// one revokes.
func TestSiblingsDisconnectedAtOnce(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			store, p := newMemStore(), newProvider("r1")
			one, two := newBench(t, store, p), newBench(t, store, p)
			one.connect(t, "acme", "r1", 1)
			two.connect(t, "sister", "r1", 1)
			time.Sleep(time.Hour)
			outcomes := make(map[connection.Outcome]int)
			var mu sync.Mutex
			var wg sync.WaitGroup
			for b, user := range map[*bench]string{one: "acme", two: "sister"} {
				wg.Go(func() {
					receipt, err := b.Disconnect(t.Context(), user, connection.DisconnectOptions{Uninstall: true})
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					}
					outcomes[receipt.Revoked]++
					outcomes["un"+receipt.Uninstalled]++
				})
			}
			wg.Wait()
			one.wantEnded(t, 1, 1)
			if outcomes[connection.OutcomeDone] != 1 || outcomes[connection.OutcomeShared] != 1 || outcomes["undone"] != 1 || outcomes["unshared"] != 1 {
				t.Errorf("receipts: %v; want one done and one shared of each", outcomes)
			}
			wantGone(t, store, "acme")
			wantGone(t, store, "sister")
		})
	}
}

// An install of a sibling that comes in while the grant is being revoked waits
// for that, and is refused rather than stored with a dead grant; one that comes
// before keeps the grant.
func TestInstallDuringARevocation(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		other := newBench(t, b.store, b.provider)
		revoking, goOn := make(chan struct{}), make(chan struct{})
		b.provider.set(func() {
			b.provider.beforeRevoke = func(string) error {
				close(revoking)
				<-goOn
				return nil
			}
		})
		go func() { _, _ = b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}) }()
		<-revoking
		result := make(chan error)
		go func() {
			_, err := other.Connect(t.Context(), install("sister", "r1", 1))
			result <- err
		}()
		time.Sleep(time.Second)
		close(goOn)
		if err := <-result; !errors.Is(err, connection.ErrGrantEnded) {
			t.Errorf("Connect() with a grant that was being revoked = %v; want ErrGrantEnded", err)
		}
		if v := other.store.get("sister"); v.Version != 0 {
			t.Errorf("a dead grant was stored: %s", v.Status)
		}
	})
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.err = transient() })
		b.disconnect(t, "acme", connection.DisconnectOptions{}, connection.OutcomePending, connection.OutcomeNotAsked)
		b.provider.set(func() { b.provider.err = nil })
		b.connect(t, "sister", "r1", 1)
		b.Follow()
		time.Sleep(2 * time.Minute)
		b.wantEnded(t, 0, 0)
		wantGone(t, b.store, "acme")
		b.want(t, "sister", "access-r1-1") // it was asked whether the grant still is there
	})
}

// A user who comes back while the disconnect is pending keeps the connection,
// with the same grant or another one; only what nobody stands on is revoked.
func TestReconnectWhilePending(t *testing.T) {
	for again, revoked := range map[string][]string{"r1": nil, "r2": {"r1"}} {
		in(t, func(t *testing.T, b *bench) {
			b.provider.set(func() { b.provider.err = transient(); b.provider.valid["r2"] = true })
			uninstall := connection.DisconnectOptions{Uninstall: true}
			b.disconnect(t, "acme", uninstall, connection.OutcomePending, connection.OutcomePending)
			b.provider.set(func() { b.provider.err = nil })
			b.connect(t, "acme", again, 1)
			b.Follow()
			time.Sleep(3 * time.Minute)
			got, uninstalled := b.provider.ended()
			if strings.Join(got, " ") != strings.Join(revoked, " ") || len(uninstalled) != 0 {
				t.Errorf("with %s: revoked %q, uninstalled with %q; want %q and none", again, got, uninstalled, revoked)
			}
			if _, err := b.Token(t.Context(), "acme"); err != nil {
				t.Errorf("with %s: Token() = %v", again, err)
			}
			if stored := b.store.get("acme"); stored.Status != connection.StatusActive || len(stored.Endings) != 0 {
				t.Errorf("with %s: stored %s with %d disconnects", again, stored.Status, len(stored.Endings))
			}
			b.disconnect(t, "acme", connection.DisconnectOptions{}, connection.OutcomeDone, connection.OutcomeNotAsked)
			if b.provider.valid[again] {
				t.Errorf("with %s: the last disconnect did not revoke", again)
			}
		})
	}
}

// A grant whose refresh token changes is found by its new one, and by the old
// one that a sibling still has.
func TestDisconnectAfterRotation(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "sister", "r1", 1)
		b.provider.set(func() { b.provider.rotating = true })
		time.Sleep(time.Hour)
		b.want(t, "acme", "access-r1'-1")
		synctest.Wait()
		b.connect(t, "third", "r1'", 1)
		b.disconnect(t, "acme", connection.DisconnectOptions{}, connection.OutcomeShared, connection.OutcomeNotAsked)
		b.disconnect(t, "third", connection.DisconnectOptions{}, connection.OutcomeDone, connection.OutcomeNotAsked)
		if revoked, _ := b.provider.ended(); strings.Join(revoked, " ") != "r1'" {
			t.Errorf("revoked %q; want the newest refresh token", revoked)
		}
	})
}

// Another sidecar that serves the user stops within 10 seconds, and takes over
// a new connection as fast.
func TestOthersForget(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		other := newBench(t, b.store, b.provider)
		other.Follow()
		time.Sleep(time.Minute) // it knows nobody yet
		other.want(t, "acme", "first-r1")
		b.disconnect(t, "acme", connection.DisconnectOptions{}, connection.OutcomeDone, connection.OutcomeNotAsked)
		time.Sleep(10 * time.Second)
		other.wantErr(t, "acme", connection.ErrNotConnected)
		b.provider.set(func() { b.provider.valid["r2"] = true })
		b.connect(t, "acme", "r2", 1)
		time.Sleep(10 * time.Second)
		other.want(t, "acme", "first-r2")
		next := install("acme", "r3", 1)
		if _, err := b.Connect(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		other.want(t, "acme", "first-r3")
	})
}

// TestDisconnectCrashes ends the process before each of the calls that a
// disconnect makes, or after it with the answer lost, and has another process
// find what is left: the user is disconnected or connected, never between, and
// with the next disconnect at the latest all is ended, once.
func TestDisconnectCrashes(t *testing.T) {
	for _, after := range []bool{false, true} {
		for step := 1; ; step++ {
			calls := crashAt(t, step, after)
			if t.Failed() {
				t.Fatalf("step %d, after it: %v", step, after)
			}
			if calls < step {
				if step < 10 {
					t.Errorf("a disconnect has %d steps only", calls)
				}
				break
			}
		}
	}
}

// crashAt returns how many calls the disconnect made.
func crashAt(t *testing.T, step int, after bool) (calls int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, p := newMemStore(), newProvider("r1")
		crash := &crashing{memStore: store, provider: p, after: after}
		first := connection.NewManager(connection.Config{App: app, Store: crash, Provider: crash})
		if _, err := first.Connect(t.Context(), install("acme", "r1", 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		crash.at = step
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := first.Disconnect(ctx, "acme", connection.DisconnectOptions{Uninstall: true})
		cancel()
		gone, end := context.WithCancel(t.Context())
		end()
		_ = first.Close(gone)
		synctest.Wait()
		calls = crash.count()

		next := newBench(t, store, p)
		next.Follow()
		time.Sleep(3 * time.Minute)
		if err == nil {
			next.wantErr(t, "acme", connection.ErrNotConnected)
		} else if store.get("acme").Status == connection.StatusActive {
			next.disconnect(t, "acme", connection.DisconnectOptions{Uninstall: true}, connection.OutcomeDone, connection.OutcomeDone)
		}
		wantGone(t, store, "acme")
		if accepted := p.accepts(install("acme", "r1", 1).Grant.RefreshToken); accepted {
			t.Error("the grant is alive")
		}
	})
	return calls
}

// crashing is the store and the HubSpot of a process that ends at a call.
type crashing struct {
	*memStore
	provider *provider
	after    bool

	crashMu sync.Mutex
	at      int
	calls   int
}

var errGone = fmt.Errorf("%w: the process is gone", connection.ErrUnavailable)

func (c *crashing) count() int {
	c.crashMu.Lock()
	defer c.crashMu.Unlock()
	return c.calls
}

// do makes a call unless the process is gone.
func do[T any](c *crashing, call func() (T, error)) (T, error) {
	var none T
	c.crashMu.Lock()
	if c.at > 0 {
		c.calls++
	}
	at, calls := c.at, c.calls
	c.crashMu.Unlock()
	if at > 0 && (calls > at || calls == at && !c.after) {
		return none, errGone
	}
	got, err := call()
	if at > 0 && calls == at {
		return none, errGone
	}
	return got, err
}

func (c *crashing) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	return do(c, func() (connection.Versioned, error) { return c.memStore.Load(ctx, key) })
}

func (c *crashing) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	return do(c, func() (uint64, error) { return c.memStore.Save(ctx, r, based) })
}

func (c *crashing) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	_, err := do(c, func() (bool, error) { return true, c.memStore.Erase(ctx, key, keep) })
	return err
}

func (c *crashing) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	return do(c, func() (connection.Page, error) { return c.memStore.List(ctx, app, cursor, limit) })
}

func (c *crashing) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	got, err := do(c, func() (sheet, error) {
		text, version, err := c.memStore.LoadSheet(ctx, app, name)
		return sheet{text, version}, err
	})
	return got.text, got.version, err
}

func (c *crashing) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	return do(c, func() (uint64, error) { return c.memStore.SaveSheet(ctx, app, name, text, based) })
}

func (c *crashing) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	return do(c, func() (hubspot.Grant, error) { return c.provider.Refresh(ctx, token) })
}

func (c *crashing) Revoke(ctx context.Context, token secret.Text) error {
	_, err := do(c, func() (bool, error) { return true, c.provider.Revoke(ctx, token) })
	return err
}

func (c *crashing) Uninstall(ctx context.Context, token secret.Text) error {
	_, err := do(c, func() (bool, error) { return true, c.provider.Uninstall(ctx, token) })
	return err
}
