package connection_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// stray makes the token endpoint answer with another portal's tokens.
func (p *provider) stray(hubID int64) {
	p.set(func() {
		p.answers = func(token string) (hubspot.Grant, error) {
			if p.rotating {
				delete(p.valid, token)
			}
			return hubspot.Grant{
				AccessToken: secret.New("another portal's"), RefreshToken: secret.New("another portal's refresh token"),
				HubID: hubID, ExpiresIn: p.life,
			}, nil
		}
	})
}

// wantOld wants that the tokens of the first install are all there is.
func (b *bench) wantOld(t *testing.T, user string) connection.Versioned {
	t.Helper()
	stored := b.store.get(user)
	if stored.RefreshToken.Reveal() != "r1" || stored.AccessToken.Reveal() != "first-r1" || stored.HubID != 1 || stored.Claim != nil {
		t.Errorf("stored %s and %s of portal %d, claim %v; want the first install's",
			stored.RefreshToken.Reveal(), stored.AccessToken.Reveal(), stored.HubID, stored.Claim)
	}
	if len(b.provider.revoked) != 0 {
		t.Errorf("revoked %v; another connection may stand on it", b.provider.revoked)
	}
	return stored
}

func TestAnAnswerForAnotherPortalIsRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.stray(2)
		for end := time.Now().Add(29 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
			b.want(t, "acme", "first-r1")
		}
		if stored := b.wantOld(t, "acme"); stored.Status != connection.StatusActive {
			t.Errorf("status %q while the old token lives; want active", stored.Status)
		}
		if n := b.events.count(connection.EventConnectionAlarm); n != 1 || b.Troubled() != 1 {
			t.Errorf("%d alarms, %d connections in trouble; want one", n, b.Troubled())
		}
		if n := b.provider.count(); n < 3 || n > 30 {
			t.Errorf("%d tries; want some, less and less often", n)
		}
		for _, e := range b.events.all() {
			if e.Kind == connection.EventConnectionAlarm && (e.Reason != connection.ReasonPortalChanged || !errors.Is(e.Err, connection.ErrOtherPortal)) {
				t.Errorf("the alarm says %q, %v", e.Reason, e.Err)
			}
		}

		time.Sleep(time.Minute) // the old token has run out
		b.call(t, 15*time.Minute, "acme")
		b.wantErr(t, "acme", connection.ErrReauthRequired)
		stored := b.wantOld(t, "acme")
		if stored.Status != connection.StatusReauthRequired || stored.Reason != connection.ReasonPortalChanged {
			t.Errorf("status %q with reason %q; want portal_changed", stored.Status, stored.Reason)
		}
		if b.Troubled() != 0 || b.events.count(connection.EventConnectionAlarmCleared) != 1 || b.events.count(connection.EventReauthRequired) != 1 {
			t.Error("the alarm did not end with the connection")
		}
	})
}

func TestAPortalIsGivenUpAfterTenMinutesOnly(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour) // no valid token is left
		b.provider.stray(2)
		begun := time.Now()
		b.call(t, 9*time.Minute, "acme")
		if time.Since(begun) > 10*time.Minute {
			t.Fatal("the calls took too long for this test")
		}
		_, err := b.Token(t.Context(), "acme")
		if !errors.Is(err, connection.ErrTokenUnavailable) || !errors.Is(err, connection.ErrOtherPortal) {
			t.Errorf("Token() after 9 min = %v; want ErrTokenUnavailable because of the portal", err)
		}
		b.provider.set(func() { b.provider.answers = nil })
		time.Sleep(3 * time.Minute)
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() after HubSpot has come to its senses = %v", err)
		}
		if b.Troubled() != 0 || b.events.count(connection.EventConnectionAlarmCleared) != 1 {
			t.Error("the alarm was not cleared")
		}
		time.Sleep(time.Hour)
		b.provider.stray(2)
		b.call(t, 5*time.Minute, "acme") // counts anew
		if got := b.store.get("acme").Status; got != connection.StatusActive {
			t.Errorf("status %q five minutes into the second time", got)
		}
	})
}

func TestAnotherPortalsAnswerEndedTheGrant(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.provider.set(func() { b.provider.rotating = true })
		time.Sleep(time.Hour)
		b.provider.stray(2) // and the refresh token is used up
		_, _ = b.Token(t.Context(), "acme")
		b.provider.set(func() { b.provider.answers = nil })
		b.call(t, 2*time.Minute, "acme")
		b.wantErr(t, "acme", connection.ErrReauthRequired)
		if stored := b.wantOld(t, "acme"); stored.Reason != connection.ReasonPortalChanged {
			t.Errorf("reason %q; want portal_changed", stored.Reason)
		}
	})
}

func TestAnotherPortalsAnswerWithoutTheStore(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.want(t, "acme", "first-r1")
		b.provider.stray(2)
		b.store.failWith(fmt.Errorf("reading: %w", connection.ErrUnavailable))
		defer b.store.heal() // else a failure here would wait for it
		for end := time.Now().Add(29 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
			b.want(t, "acme", "first-r1")
		}
		time.Sleep(2 * time.Minute)
		b.wantErr(t, "acme", connection.ErrOtherPortal)
		if b.Pending() != 0 {
			t.Error("another portal's tokens wait to be stored")
		}
		b.wantOld(t, "acme")
	})
}

func TestAnAnswerWithoutAPortalIsTaken(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		b.provider.stray(0)
		b.want(t, "acme", "another portal's")
		if got := b.store.get("acme").HubID; got != 1 {
			t.Errorf("stored portal %d; want 1 as before", got)
		}
	})
}

func TestAnotherPortalsAnswerForOneAmongHealthyOnes(t *testing.T) {
	body := `{"access_token":"stray","refresh_token":"stray-too","expires_in":1800,"hub_id":2}`
	inWard(t, 200, body, func(t *testing.T, w *ward) {
		w.use(t, 2*time.Hour)
		w.wantErr(t, "sick", connection.ErrReauthRequired)
		if n := w.events.count(connection.EventAppAlarm); n != 0 {
			t.Errorf("%d alarms of the app", n)
		}
		w.connect(t, "sick", "of-well", 1)
		w.use(t, time.Hour)
	})
}
