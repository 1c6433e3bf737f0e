package connection_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// checking is a provider that can be asked whether a grant works.
type checking struct {
	*provider
	works bool
	err   error
	asked int
}

func (c *checking) GrantWorks(context.Context, secret.Text) (bool, error) {
	c.asked++
	return c.works, c.err
}

// inUninstall has a user acme on portal 1, connected an hour ago.
func inUninstall(t *testing.T, f func(t *testing.T, b *bench, c *checking)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, c, events := newMemStore(), &checking{provider: newProvider("r1")}, &recorder{}
		m := connection.NewManager(connection.Config{App: app, Store: store, Provider: c, Observer: events})
		defer func() { _ = m.Close(context.Background()) }()
		b := &bench{Manager: m, store: store, provider: c.provider, events: events}
		b.connect(t, "acme", "r1", 1)
		time.Sleep(time.Hour)
		f(t, b, c)
	})
}

func TestUninstalled(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, c *checking) {
		for _, hubID := range []int64{1, 1, 2} {
			marked, err := b.Uninstalled(t.Context(), "acme", hubID, time.Now())
			if first := b.store.saves == 2; err != nil || marked && !first {
				t.Errorf("portal %d: %v, %v", hubID, marked, err)
			}
		}
		r := b.store.get("acme").Record
		if r.Status != connection.StatusReauthRequired || r.Reason != "uninstalled" || !r.AccessToken.IsZero() || r.RefreshToken.IsZero() {
			t.Errorf("record: %s, %q", r.Status, r.Reason)
		}
		if _, err := b.Token(t.Context(), "acme"); !errors.Is(err, connection.ErrReauthRequired) {
			t.Errorf("Token() = %v", err)
		}
		if c.asked != 0 || len(b.UsersOf(1)) != 0 {
			t.Errorf("HubSpot was asked %d times; active: %v", c.asked, b.UsersOf(1))
		}
		if marked, err := b.Uninstalled(t.Context(), "nobody", 1, time.Now()); marked || err != nil {
			t.Errorf("nobody: %v, %v", marked, err)
		}
	})
}

// TestUninstalledOfAnotherPortal changes nothing.
func TestUninstalledOfAnotherPortal(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, _ *checking) {
		if marked, err := b.Uninstalled(t.Context(), "acme", 2, time.Now()); marked || err != nil {
			t.Errorf("%v, %v", marked, err)
		}
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() = %v", err)
		}
	})
}

// TestUninstalledBeforeTheInstall: events come late. Where the two are too close
// for two clocks, HubSpot says which came last.
func TestUninstalledBeforeTheInstall(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, c *checking) {
		connectedAt := b.store.get("acme").ConnectedAt
		if marked, err := b.Uninstalled(t.Context(), "acme", 1, connectedAt.Add(-3*time.Minute)); marked || err != nil || c.asked != 0 {
			t.Errorf("long before: %v, %v, asked %d", marked, err, c.asked)
		}
		c.works = true
		for _, off := range []time.Duration{-time.Minute, time.Minute} {
			if marked, err := b.Uninstalled(t.Context(), "acme", 1, connectedAt.Add(off)); marked || err != nil {
				t.Errorf("%v off, and the grant works: %v, %v", off, marked, err)
			}
		}
		c.err = errors.New("away")
		if marked, err := b.Uninstalled(t.Context(), "acme", 1, connectedAt); marked || !errors.Is(err, connection.ErrTokenUnavailable) {
			t.Errorf("HubSpot does not say: %v, %v", marked, err)
		}
		c.works, c.err = false, nil
		if marked, err := b.Uninstalled(t.Context(), "acme", 1, connectedAt.Add(-time.Minute)); !marked || err != nil {
			t.Errorf("close, and the grant is dead: %v, %v", marked, err)
		}
	})
}

// TestUninstalledDuringARefresh: what HubSpot gave just before does not bring
// the connection back.
func TestUninstalledDuringARefresh(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, _ *checking) {
		b.provider.delay = 5 * time.Second
		refreshed := make(chan error)
		go func() {
			_, err := b.Token(t.Context(), "acme") // it has run out
			refreshed <- err
		}()
		time.Sleep(2 * time.Second)
		if marked, err := b.Uninstalled(t.Context(), "acme", 1, time.Now()); !marked || err != nil {
			t.Fatalf("%v, %v", marked, err)
		}
		<-refreshed
		time.Sleep(time.Second)
		if r := b.store.get("acme").Record; r.Status != connection.StatusReauthRequired || r.Reason != connection.ReasonUninstalled {
			t.Errorf("record: %s, %q", r.Status, r.Reason)
		}
		if _, err := b.Token(t.Context(), "acme"); !errors.Is(err, connection.ErrReauthRequired) {
			t.Errorf("Token() = %v", err)
		}
	})
}

// TestUninstalledDuringADisconnect: an end that is under way stays one.
func TestUninstalledDuringADisconnect(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, _ *checking) {
		for _, status := range []connection.Status{connection.StatusDisconnecting, connection.StatusDisconnected} {
			b.store.set(func(r *connection.Record) { r.Status = status }, "acme")
			if marked, err := b.Uninstalled(t.Context(), "acme", 1, time.Now()); marked || err != nil {
				t.Errorf("%s: %v, %v", status, marked, err)
			}
			if r := b.store.get("acme").Record; r.Status != status || r.Reason != "" {
				t.Errorf("%s became %s, %q", status, r.Status, r.Reason)
			}
		}
	})
}

// TestUninstalledAfterTheRefreshHasFailed: HubSpot's word for a dead grant gives
// way to the reason, and a refresh that fails later does not.
func TestUninstalledAfterTheRefreshHasFailed(t *testing.T) {
	t.Parallel()
	inUninstall(t, func(t *testing.T, b *bench, _ *checking) {
		b.store.set(func(r *connection.Record) {
			r.Status, r.Reason = connection.StatusReauthRequired, "BAD_REFRESH_TOKEN"
		}, "acme")
		if marked, err := b.Uninstalled(t.Context(), "acme", 1, time.Now()); marked || err != nil {
			t.Errorf("%v, %v", marked, err)
		}
		if r := b.store.get("acme").Record; r.Reason != connection.ReasonUninstalled {
			t.Errorf("reason %q", r.Reason)
		}
	})
}
