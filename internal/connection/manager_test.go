package connection_test

import (
	"context"
	"crypto/rand"
	"errors"
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

const app = "hbdev"

// bench is a Manager with all that a test decides about.
type bench struct {
	*connection.Manager
	store    *memStore
	provider *provider
	events   *recorder
}

// in runs f in a bubble of fake time with a connected user "acme".
func in(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, provider := newMemStore(), newProvider("r1")
		b := newBench(t, store, provider)
		b.connect(t, "acme", "r1", 1)
		f(t, b)
	})
}

func newBench(t *testing.T, store *memStore, p *provider) *bench {
	t.Helper()
	events := &recorder{}
	m := connection.NewManager(connection.Config{App: app, Store: store, Provider: p, Observer: events})
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return &bench{m, store, p, events}
}

func (b *bench) connect(t *testing.T, user, refresh string, hubID int64) {
	t.Helper()
	if _, err := b.Connect(t.Context(), install(user, refresh, hubID)); err != nil {
		t.Fatalf("Connect(%s) = %v", user, err)
	}
}

func install(user, refresh string, hubID int64) connection.Install {
	return connection.Install{
		User: user,
		Grant: hubspot.Grant{
			AccessToken:  secret.New("first-" + refresh),
			RefreshToken: secret.New(refresh),
			HubID:        hubID,
			ExpiresIn:    30 * time.Minute,
		},
		Nonce:      rand.Text(),
		NonceUntil: time.Now().Add(10 * time.Minute),
	}
}

func (b *bench) want(t *testing.T, user, access string) {
	t.Helper()
	token, err := b.Token(t.Context(), user)
	if err != nil {
		t.Fatalf("Token(%s) = %v; want %s", user, err, access)
	}
	if got := token.Access.Reveal(); got != access {
		t.Fatalf("Token(%s) = %s; want %s", user, got, access)
	}
}

func (b *bench) wantErr(t *testing.T, user string, want error) {
	t.Helper()
	if _, err := b.Token(t.Context(), user); !errors.Is(err, want) {
		t.Fatalf("Token(%s) = %v; want %v", user, err, want)
	}
}

// useFor calls Token every interval for d.
func (b *bench) useFor(t *testing.T, user string, d, interval time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(interval) {
		if _, err := b.Token(t.Context(), user); err != nil {
			t.Fatalf("Token(%s) = %v", user, err)
		}
	}
}

func TestTokenIsRefreshedBehindItsUsers(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.delay = 5 * time.Second })
		for end := time.Now().Add(24 * time.Hour); time.Now().Before(end); time.Sleep(time.Minute) {
			begun := time.Now()
			if _, err := b.Token(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begun); waited > 0 {
				t.Fatalf("a request waited %s", waited)
			}
		}
		// A token is replaced after 50 to 80 per cent of 30 minutes.
		if n := b.provider.count(); n < 60 || n > 96 {
			t.Errorf("%d refreshes in 24 h; want 60 to 96", n)
		}
	})
}

func TestIdleConnectionIsLeftAlone(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.want(t, "acme", "first-r1")
		time.Sleep(24 * time.Hour)
		if n := b.provider.count(); n > 1 {
			t.Errorf("%d refreshes of a connection that nobody uses; want 1 at the most", n)
		}
		if loads := b.store.loadCount(); loads > 10 {
			t.Errorf("%d reads of a connection that nobody uses", loads)
		}
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() after a day = %v", err)
		}
	})
}

func TestUseInTheFirstMinutesKeepsTheTokenFresh(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.useFor(t, "acme", 2*time.Minute, 10*time.Second)
		time.Sleep(25 * time.Minute)
		if n := b.provider.count(); n != 1 {
			t.Errorf("%d refreshes; want 1, by the clock", n)
		}
	})
}

func TestOneFlightForAllWaiters(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		before := b.provider.count()
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Token(impatient, "acme"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Token() of one who leaves = %v; want its deadline", err)
			}
		})
		for range 100 {
			wg.Go(func() {
				if _, err := b.Token(t.Context(), "acme"); err != nil {
					t.Errorf("Token() = %v", err)
				}
			})
		}
		wg.Wait()
		if n := b.provider.count() - before; n != 1 {
			t.Errorf("%d refreshes for 101 callers; want 1", n)
		}
	})
}

func TestRestartServesTheStoredTokenAtOnce(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Minute) // late, but valid
		b.provider.set(func() { b.provider.delay = 5 * time.Second })
		again := newBench(t, b.store, b.provider)
		begun := time.Now()
		again.want(t, "acme", "first-r1")
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("a request waited %s for a refresh although the stored token was valid", waited)
		}
		time.Sleep(10 * time.Second)
		if n := b.provider.count(); n != 1 {
			t.Errorf("%d refreshes; want 1 in the background", n)
		}
	})
}

func TestTransientFailuresAreNotSeenWhileTheTokenLives(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.err = transient() })
		b.useFor(t, "acme", 29*time.Minute, 30*time.Second)
		b.provider.set(func() { b.provider.err = nil })
		b.useFor(t, "acme", 5*time.Minute, 30*time.Second)
		if got := b.store.get("acme").Status; got != connection.StatusActive {
			t.Errorf("status %q after passing failures", got)
		}
	})
}

func TestTransientFailureWithoutATokenEndsInTokenUnavailable(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.err = transient() })
		time.Sleep(time.Hour)
		b.wantErr(t, "acme", connection.ErrTokenUnavailable)
		b.provider.set(func() { b.provider.err = nil })
		time.Sleep(time.Minute)
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() after recovery = %v", err)
		}
		if b.store.get("acme").Claim != nil {
			t.Error("a claim was left behind")
		}
	})
}

func TestDeadGrant(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		b.useFor(t, "acme", 29*time.Minute, 30*time.Second) // the token is valid to its end
		time.Sleep(2 * time.Minute)
		b.wantErr(t, "acme", connection.ErrReauthRequired)
		n := b.provider.count()
		for range 100 {
			b.wantErr(t, "acme", connection.ErrReauthRequired)
			time.Sleep(time.Minute)
		}
		if tries := b.provider.count(); tries != n || n != 1 {
			t.Errorf("%d tries with a dead grant; want 1", tries)
		}
		stored := b.store.get("acme")
		if stored.Status != connection.StatusReauthRequired || stored.Reason != "BAD_REFRESH_TOKEN" || stored.ReasonAt.IsZero() {
			t.Errorf("stored status %q, reason %q at %s", stored.Status, stored.Reason, stored.ReasonAt)
		}
		if b.events.count(connection.EventReauthRequired) != 1 {
			t.Error("want one reauth_required event")
		}
		b.provider.set(func() { b.provider.valid["r2"] = true })
		b.connect(t, "acme", "r2", 1)
		b.want(t, "acme", "first-r2")
	})
}

func TestReconnectElsewhereHealsWithinSeconds(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		other := newBench(t, b.store, b.provider)
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		time.Sleep(time.Hour)
		b.wantErr(t, "acme", connection.ErrReauthRequired)
		b.wantErr(t, "newcomer", connection.ErrNotConnected)
		other.connect(t, "acme", "r2", 1)
		other.connect(t, "newcomer", "r3", 2)
		time.Sleep(3 * time.Second)
		b.want(t, "acme", "first-r2")
		b.want(t, "newcomer", "first-r3")
	})
}

// The end of a grant and its healing are told once among sidecars, by the one
// that has written it down.
func TestOneSidecarTells(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		other := newBench(t, b.store, b.provider)
		other.want(t, "acme", "first-r1")
		both := func(kind connection.EventKind) []connection.Event {
			return slices.DeleteFunc(slices.Concat(b.events.all(), other.events.all()), func(e connection.Event) bool { return e.Kind != kind })
		}
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		time.Sleep(time.Hour)
		b.wantErr(t, "acme", connection.ErrReauthRequired)
		other.wantErr(t, "acme", connection.ErrReauthRequired)
		if n := len(both(connection.EventReauthRequired)); n != 1 {
			t.Errorf("%d events of the end, want 1", n)
		}
		since := b.store.get("acme").ReasonAt
		time.Sleep(time.Hour)
		b.provider.set(func() { b.provider.valid["r2"] = true })
		other.connect(t, "acme", "r2", 1)
		lasted := time.Since(since)
		time.Sleep(3 * time.Second)
		b.want(t, "acme", "first-r2")
		healed := both(connection.EventHealed)
		if len(healed) != 1 || healed[0].Reason != "BAD_REFRESH_TOKEN" || healed[0].Duration != lasted || healed[0].Tag == "" || healed[0].HubID != 1 {
			t.Errorf("healed: %+v", healed)
		}
		other.connect(t, "acme", "r2", 1)
		if n := len(both(connection.EventHealed)); n != 1 {
			t.Errorf("a connection that was well has healed")
		}
	})
}

func TestMisconfiguredAppChangesNoConnection(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		for i := range 20 {
			b.connect(t, fmt.Sprint("user", i), "r1", 1)
		}
		time.Sleep(time.Hour)
		b.provider.set(func() { b.provider.err = misconfigured() })
		before := b.provider.count()
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
			for i := range 20 {
				b.wantErr(t, fmt.Sprint("user", i), connection.ErrAppMisconfigured)
			}
		}
		if n := b.provider.count() - before; n > 11 {
			t.Errorf("%d tries in 5 min with refused credentials; want one every 30 s", n)
		}
		if b.events.count(connection.EventAppAlarm) != 1 {
			t.Errorf("%d alarms; want 1", b.events.count(connection.EventAppAlarm))
		}
		b.provider.set(func() { b.provider.err = nil })
		time.Sleep(31 * time.Second)
		for i := range 20 {
			user := fmt.Sprint("user", i)
			if _, err := b.Token(t.Context(), user); err != nil {
				t.Errorf("Token(%s) after recovery = %v", user, err)
			}
			if got := b.store.get(user).Status; got != connection.StatusActive {
				t.Errorf("%s has status %q", user, got)
			}
		}
		if len(b.Alarms()) != 0 || b.events.count(connection.EventAppAlarmCleared) != 1 {
			t.Error("the alarm was not cleared")
		}
	})
}

func TestManyDeadGrantsAtOnceAreHeld(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		for i := range 100 {
			b.connect(t, fmt.Sprint("user", i), "r1", 1)
		}
		time.Sleep(time.Hour)
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		for i := range 100 {
			_, err := b.Token(t.Context(), fmt.Sprint("user", i))
			if err == nil {
				t.Fatal("a token from a dead grant")
			}
		}
		dead := 0
		for i := range 100 {
			if b.store.get(fmt.Sprint("user", i)).Status == connection.StatusReauthRequired {
				dead++
			}
		}
		if dead > 5 {
			t.Errorf("%d connections called dead; want 5 at the most before the alarm", dead)
		}
		if b.events.count(connection.EventAppAlarm) != 1 {
			t.Errorf("%d alarms; want 1", b.events.count(connection.EventAppAlarm))
		}
		b.provider.set(func() { b.provider.valid["r1"] = true })
		time.Sleep(10 * time.Minute)
		if _, err := b.Token(t.Context(), "user99"); err != nil {
			t.Errorf("Token() after the incident = %v", err)
		}
	})
}

func TestRejected(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		token, err := b.Token(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				fresh, err := b.Rejected(t.Context(), "acme", token)
				if err != nil || fresh.Access.Equal(token.Access) {
					t.Errorf("Rejected() = %v; want another token", err)
				}
			})
		}
		wg.Wait()
		if n := b.provider.count(); n != 1 {
			t.Errorf("%d refreshes for ten refusals of one token; want 1", n)
		}
		second, _ := b.Token(t.Context(), "acme")
		if _, err := b.Rejected(t.Context(), "acme", second); !errors.Is(err, connection.ErrTokenUnavailable) {
			t.Errorf("Rejected() again within a minute = %v; want ErrTokenUnavailable", err)
		}
		time.Sleep(time.Minute)
		if _, err := b.Rejected(t.Context(), "acme", second); err != nil {
			t.Errorf("Rejected() after a minute = %v", err)
		}
		if n := b.provider.count(); n != 2 {
			t.Errorf("%d refreshes; want 2", n)
		}
	})
}

func TestRejectedByADeadGrantServesNoMore(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		token, _ := b.Token(t.Context(), "acme")
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		if _, err := b.Rejected(t.Context(), "acme", token); !errors.Is(err, connection.ErrReauthRequired) {
			t.Errorf("Rejected() = %v; want ErrReauthRequired", err)
		}
		b.wantErr(t, "acme", connection.ErrReauthRequired)
	})
}

func TestCloseFinishesWhatIsUnderWay(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		ctx, hangUp := context.WithCancel(t.Context())
		go func() { _, _ = b.Token(ctx, "acme") }()
		synctest.Wait()
		hangUp()
		if err := b.Close(t.Context()); err != nil {
			t.Fatalf("Close() = %v", err)
		}
		stored := b.store.get("acme")
		newest := fmt.Sprintf("access-r1-%d", b.provider.count())
		if stored.Claim != nil || stored.AccessToken.Reveal() != newest {
			t.Errorf("after Close the store has %s, claim %v; want %s", stored.AccessToken.Reveal(), stored.Claim, newest)
		}
		b.want(t, "acme", newest) // requests of the old configuration go on
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		m := connection.NewManager(connection.Config{App: app, Store: store, Provider: newProvider("r1"), MaxCached: 100})
		defer func() { _ = m.Close(context.Background()) }()
		for i := range 200 {
			if _, err := m.Connect(t.Context(), install(fmt.Sprint("user", i), "r1", 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		loads := store.loadCount()
		if _, err := m.Token(t.Context(), "user199"); err != nil || store.loadCount() != loads {
			t.Errorf("the connection used last was dropped (%v)", err)
		}
		if _, err := m.Token(t.Context(), "user0"); err != nil || store.loadCount() == loads {
			t.Errorf("the connection unused longest was kept (%v)", err)
		}
	})
}
