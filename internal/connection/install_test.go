package connection_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func TestConnectPinsThePortal(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		elsewhere := install("acme", "r2", 2)
		if _, err := b.Connect(t.Context(), elsewhere); !errors.Is(err, connection.ErrPortalChange) {
			t.Fatalf("Connect() on another portal = %v; want ErrPortalChange", err)
		}
		b.want(t, "acme", "first-r1")
		if len(b.provider.revoked) != 0 {
			t.Error("the stray grant was revoked; another user may share it")
		}
		elsewhere.AllowPortalChange = true
		if _, err := b.Connect(t.Context(), elsewhere); err != nil {
			t.Fatalf("Connect() with AllowPortalChange = %v", err)
		}
		b.want(t, "acme", "first-r2")
		if keep := b.store.erased[connection.Key{App: app, User: "acme"}]; keep != 2 {
			t.Errorf("versions before %d erased; want those before 2, the other portal's", keep)
		}
	})
}

func TestLifeIsCountedFromBeforeTheExchange(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		slow := install("globex", "r1", 1)
		slow.IssuedAt = time.Now().Add(-20 * time.Second)
		summary, err := b.Connect(t.Context(), slow)
		if err != nil {
			t.Fatal(err)
		}
		if want := slow.IssuedAt.Add(slow.Grant.ExpiresIn); !summary.ExpiresAt.Equal(want) {
			t.Errorf("expires at %s; want %s", summary.ExpiresAt, want)
		}
	})
}

func TestStateWorksOnce(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		again := install("acme", "r1", 1)
		for _, wantUsed := range []bool{false, true} {
			used, err := b.StateUsed(t.Context(), "acme", again.Nonce)
			if err != nil || used != wantUsed {
				t.Errorf("StateUsed() = %v, %v; want %v", used, err, wantUsed)
			}
			_, err = b.Connect(t.Context(), again)
			if wantUsed != errors.Is(err, connection.ErrStateUsed) {
				t.Errorf("Connect() = %v; want ErrStateUsed: %v", err, wantUsed)
			}
		}
		if _, err := b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Connect(t.Context(), again); !errors.Is(err, connection.ErrStateUsed) {
			t.Errorf("Connect() with a used state after a disconnect = %v; want ErrStateUsed", err)
		}
		time.Sleep(11 * time.Minute)
		b.connect(t, "acme", "r2", 1)
		if n := len(b.store.get("acme").UsedNonces); n != 1 {
			t.Errorf("%d nonces kept; want only the one that still counts", n)
		}
	})
}

func TestDisconnect(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		if _, err := b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		stored := b.store.get("acme")
		if stored.Status != connection.StatusDisconnected || !stored.RefreshToken.IsZero() || !stored.AccessToken.IsZero() {
			t.Errorf("stored %s with tokens", stored.Status)
		}
		if keep := b.store.erased[connection.Key{App: app, User: "acme"}]; keep != stored.Version {
			t.Errorf("versions before %d erased; want all before %d", keep, stored.Version)
		}
		if len(b.provider.revoked) != 1 {
			t.Errorf("revoked %v; want one grant", b.provider.revoked)
		}
		b.wantErr(t, "acme", connection.ErrNotConnected)
		if _, err := b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); !errors.Is(err, connection.ErrNotConnected) {
			t.Errorf("Disconnect() again = %v; want ErrNotConnected", err)
		}
		if _, err := b.Get(t.Context(), "acme"); !errors.Is(err, connection.ErrNotConnected) {
			t.Errorf("Get() = %v; want ErrNotConnected", err)
		}
		b.connect(t, "acme", "r2", 7) // no longer pinned
	})
}

func TestDisconnectSparesASharedGrant(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "sister", "r1", 1)
		if b.events.count(connection.EventPortalShared) != 1 {
			t.Error("want an event for two users on one portal")
		}
		if _, err := b.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		if len(b.provider.revoked) != 0 {
			t.Error("the grant that another user shares was revoked")
		}
		if _, err := b.Disconnect(t.Context(), "sister", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		if len(b.provider.revoked) != 1 {
			t.Error("the grant was not revoked with its last user")
		}
	})
}
