package connection_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestForceRefresh(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		summary, err := b.ForceRefresh(t.Context(), "acme")
		if err != nil || summary.HubID != 1 {
			t.Fatalf("ForceRefresh() = %+v, %v", summary, err)
		}
		b.want(t, "acme", "access-r1-1")
		time.Sleep(10 * time.Second)
		_, err = b.ForceRefresh(t.Context(), "acme")
		wantHeld(t, err, connection.HeldRefreshedRecently, 50*time.Second, connection.ErrTokenUnavailable)
		b.want(t, "acme", "access-r1-1") // calls go on
		time.Sleep(50 * time.Second)
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil {
			t.Errorf("ForceRefresh() after a minute = %v", err)
		}
		if n := b.provider.count(); n != 2 {
			t.Errorf("%d refreshes; want 2", n)
		}
		time.Sleep(2 * time.Hour) // run out
		before := b.provider.count()
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil || b.provider.count() != before+1 {
			t.Errorf("ForceRefresh() of a token that has run out = %v after %d refreshes; want one", err, b.provider.count()-before)
		}
		if _, err := b.ForceRefresh(t.Context(), "stranger"); !errors.Is(err, connection.ErrNotConnected) {
			t.Errorf("ForceRefresh() of a stranger = %v; want ErrNotConnected", err)
		}
	})
}

func TestForceRefreshThatFails(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.err = &hubspot.TokenError{HTTPStatus: 429, RetryAfter: 20 * time.Second} })
		_, err := b.ForceRefresh(t.Context(), "acme")
		if _, held := errors.AsType[*connection.HeldBack](err); held || !errors.Is(err, connection.ErrTokenUnavailable) {
			t.Errorf("ForceRefresh() = %v; want what HubSpot answered", err)
		}
		time.Sleep(5 * time.Second)
		_, err = b.ForceRefresh(t.Context(), "acme")
		wantHeld(t, err, connection.HeldBackoff, 15*time.Second, connection.ErrTokenUnavailable)
		b.want(t, "acme", "first-r1")
		if n := b.provider.count(); n != 1 {
			t.Errorf("%d tries; want 1", n)
		}
		b.provider.set(func() { b.provider.err = nil })
		time.Sleep(15 * time.Second) // less than a minute after the first
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil {
			t.Errorf("ForceRefresh() after the backoff = %v", err)
		}
	})
}

func TestForceRefreshOfAPausedApp(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "other", "r1", 1)
		b.provider.set(func() { b.provider.err = misconfigured() })
		if _, err := b.ForceRefresh(t.Context(), "acme"); !errors.Is(err, connection.ErrAppMisconfigured) {
			t.Errorf("ForceRefresh() = %v; want ErrAppMisconfigured", err)
		}
		time.Sleep(10 * time.Second)
		for _, user := range []string{"acme", "other"} {
			_, err := b.ForceRefresh(t.Context(), user)
			wantHeld(t, err, connection.HeldAppPaused, 20*time.Second, connection.ErrAppMisconfigured)
			b.want(t, user, "first-r1")
		}
		if n := b.provider.count(); n != 1 {
			t.Errorf("%d tries; want 1", n)
		}
	})
}

func TestForceRefreshOfADeadGrantKeepsTheToken(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { delete(b.provider.valid, "r1") })
		if _, err := b.ForceRefresh(t.Context(), "acme"); !errors.Is(err, connection.ErrReauthRequired) {
			t.Errorf("ForceRefresh() = %v; want ErrReauthRequired", err)
		}
		b.want(t, "acme", "first-r1") // HubSpot takes it until it runs out
		if got := b.store.get("acme"); got.Status != connection.StatusReauthRequired || got.AccessToken.IsZero() {
			t.Errorf("stored %s, without a token: %v", got.Status, got.AccessToken.IsZero())
		}
	})
}

func TestForceRefreshWithoutTheStore(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.rotating = true })
		b.useFor(t, "acme", time.Hour, 30*time.Second)
		b.store.failWith(fmt.Errorf("reading: %w", connection.ErrUnavailable))
		defer b.store.heal()
		before := b.provider.count()
		if _, err := b.ForceRefresh(t.Context(), "acme"); !errors.Is(err, connection.ErrRefreshNeedsStore) {
			t.Errorf("ForceRefresh() = %v; want ErrRefreshNeedsStore", err)
		}
		if n := b.provider.count() - before; n != 0 {
			t.Errorf("%d refreshes while nothing could be written", n)
		}
	})
}

func TestAFullRefreshQuotaHasAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := newMemStore(), newProvider("r1")
		m := connection.NewManager(connection.Config{App: app, Store: store, Provider: p, RefreshCount: 1, RefreshPer: time.Minute})
		b := &bench{Manager: m, store: store, provider: p}
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		b.connect(t, "first", "r1", 1)
		b.connect(t, "second", "r1", 1)
		time.Sleep(time.Hour)
		b.connect(t, "acme", "r1", 1)
		go func() { _, _ = b.Token(context.Background(), "first") }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := b.ForceRefresh(short, "acme")
		wantHeld(t, err, connection.HeldRefreshQuota, time.Minute, connection.ErrTokenUnavailable)
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("waited %s for a turn that does not come in time", waited)
		}
		b.want(t, "acme", "first-r1")
		_, err = b.Token(short, "second")
		wantHeld(t, err, connection.HeldRefreshQuota, 55*time.Second, context.DeadlineExceeded)
		time.Sleep(2 * time.Minute)
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil {
			t.Errorf("ForceRefresh() with room in the quota = %v", err)
		}
	})
}

func TestForceRefreshAfterARefusalThatGaveNoToken(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		token, err := b.Token(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		b.provider.set(func() { b.provider.err = &hubspot.TokenError{HTTPStatus: 429, RetryAfter: 20 * time.Second} })
		if _, err := b.Rejected(t.Context(), "acme", token); err == nil {
			t.Error("Rejected() gave a token that nobody issued")
		}
		b.provider.set(func() { b.provider.err = nil })
		time.Sleep(15 * time.Second)
		_, err = b.ForceRefresh(t.Context(), "acme")
		wantHeld(t, err, connection.HeldBackoff, 5*time.Second, connection.ErrTokenUnavailable)
		b.want(t, "acme", "first-r1")
	})
}

func TestRejectedIsHeldBackByName(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		token, err := b.Token(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		b.provider.set(func() { b.provider.err = &hubspot.TokenError{HTTPStatus: 429, RetryAfter: 5 * time.Minute} })
		if _, err := b.Rejected(t.Context(), "acme", token); !errors.Is(err, connection.ErrTokenUnavailable) {
			t.Errorf("Rejected() = %v; want ErrTokenUnavailable", err)
		}
		_, err = b.Rejected(t.Context(), "acme", token)
		wantHeld(t, err, connection.HeldBackoff, 5*time.Minute, connection.ErrTokenUnavailable)
		b.provider.set(func() { b.provider.err = nil })
		time.Sleep(15 * time.Minute)
		second, err := b.Token(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		third, err := b.Rejected(t.Context(), "acme", second)
		if err != nil || third.Access.Equal(second.Access) {
			t.Errorf("Rejected() of the token before = %v; want the one that is known by now", err)
		}
		_, err = b.Rejected(t.Context(), "acme", third)
		wantHeld(t, err, connection.HeldRefreshedRecently, time.Minute, connection.ErrTokenUnavailable)
	})
}
