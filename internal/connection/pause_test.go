package connection_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// call asks for users' tokens once a second for d, in order, and does not
// mind what they get.
func (b *bench) call(t *testing.T, d time.Duration, users ...string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		for _, user := range users {
			_, _ = b.Token(t.Context(), user)
		}
	}
}

func TestEachProbeGoesByAnotherConnection(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		var users []string
		for i := range 3 {
			users = append(users, fmt.Sprint("user", i))
			b.connect(t, users[i], fmt.Sprint("of", i), 1)
		}
		time.Sleep(time.Hour)
		b.provider.set(func() { b.provider.err = misconfigured() })
		begun := time.Now()
		b.call(t, 10*time.Minute, users...) // user0 always asks first
		tries := b.provider.triesSince(begun)
		if len(tries) < 19 || len(tries) > 21 {
			t.Fatalf("%d tries in 10 min; want one every 30 s", len(tries))
		}
		perToken := make(map[string]int)
		for i, try := range tries {
			perToken[try.token]++
			if i > 0 && try.token == tries[i-1].token {
				t.Errorf("try %d goes by %s, which has just failed", i, try.token)
			}
		}
		for token, n := range perToken {
			if n < 6 {
				t.Errorf("only %d tries go by %s; want a third", n, token)
			}
		}
	})
}

func TestALoneConnectionIsItsOwnProbe(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "idle", "r1", 1) // nobody asks for it
		time.Sleep(time.Hour)
		b.provider.set(func() { b.provider.err = misconfigured() })
		begun := time.Now()
		b.call(t, 5*time.Minute, "acme")
		if n := len(b.provider.triesSince(begun)); n != 10 {
			t.Errorf("%d tries in 5 min; want one every 30 s", n)
		}
	})
}

func TestAConnectionThatWaitsForItselfTakesNoProbe(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "sick", "of the sick", 1)
		b.connect(t, "other", "of the other", 1)
		time.Sleep(time.Hour)
		b.provider.set(func() {
			b.provider.valid["of the other"] = true
			b.provider.answers = func(token string) (grant hubspot.Grant, err error) {
				switch token {
				case "of the sick":
					return grant, &hubspot.TokenError{HTTPStatus: 429, RetryAfter: time.Hour}
				case "of the other":
					return grant, misconfigured()
				}
				return grant, nil
			}
		})
		b.wantErr(t, "sick", connection.ErrTokenUnavailable) // its backoff begins
		b.wantErr(t, "other", connection.ErrAppMisconfigured)
		time.Sleep(31 * time.Second)
		begun := time.Now()
		b.wantErr(t, "sick", connection.ErrTokenUnavailable) // not the probe
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() of the probe = %v; want a token", err)
		}
		if n := len(b.provider.triesSince(begun)); n != 1 {
			t.Errorf("%d tries; want the probe", n)
		}
	})
}

func TestWhatHoldsBackHasAName(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.connect(t, "other", "r1", 1)
		time.Sleep(time.Hour)
		b.provider.set(func() { b.provider.err = &hubspot.TokenError{HTTPStatus: 429, RetryAfter: 20 * time.Minute} })
		b.wantErr(t, "acme", connection.ErrTokenUnavailable)
		time.Sleep(5 * time.Minute)
		_, err := b.Token(t.Context(), "acme")
		wantHeld(t, err, connection.HeldBackoff, 15*time.Minute, connection.ErrTokenUnavailable)
		if te, ok := errors.AsType[*hubspot.TokenError](err); !ok || te.HTTPStatus != 429 {
			t.Errorf("%v does not wrap the failure that led to it", err)
		}

		b.provider.set(func() { b.provider.err = misconfigured() })
		b.wantErr(t, "other", connection.ErrAppMisconfigured)
		time.Sleep(10 * time.Second)
		_, err = b.Token(t.Context(), "other")
		wantHeld(t, err, connection.HeldAppPaused, 20*time.Second, connection.ErrAppMisconfigured)
	})
}

// wantHeld wants a *HeldBack of a reason, and a wait of about that long.
func wantHeld(t *testing.T, err error, reason connection.HoldReason, wait time.Duration, sentinel error) {
	t.Helper()
	held, ok := errors.AsType[*connection.HeldBack](err)
	if !ok {
		t.Fatalf("error %T %v; want a *HeldBack", err, err)
	}
	if held.Reason != reason || (held.RetryAfter-wait).Abs() > time.Second {
		t.Errorf("held back by %s for %s; want %s for %s", held.Reason, held.RetryAfter, reason, wait)
	}
	if !errors.Is(err, sentinel) {
		t.Errorf("%v does not wrap %v", err, sentinel)
	}
}
