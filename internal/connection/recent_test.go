package connection_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestMostRecent(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		find := func(want string, wantErr error, users ...string) {
			t.Helper()
			if got, err := b.MostRecent(users); got != want || !errors.Is(err, wantErr) {
				t.Errorf("%q, %v; want %q, %v", got, err, want, wantErr)
			}
		}
		find("", connection.ErrNotConnected)
		find("unknown", nil, "unknown") // here; the store may know it
		for _, user := range []string{"a", "b", "d"} {
			b.connect(t, user, "r1", 1)
		}
		for _, user := range []string{"b", "d", "a", "b"} {
			time.Sleep(5 * time.Second)
			_, _ = b.Token(t.Context(), user)
			find(user, nil, "a", "b", "d", "unknown")
		}
		find("a", nil, "d", "a")
		if _, err := b.Disconnect(t.Context(), "b", connection.DisconnectOptions{}); err != nil {
			t.Fatal(err)
		}
		find("a", nil, "a", "b", "d")
		find("", connection.ErrNotConnected, "b")
		b.provider.set(func() { clear(b.provider.valid) })
		for _, user := range []string{"a", "d"} {
			_, _ = b.ForceRefresh(t.Context(), user)
		}
		find("", connection.ErrReauthRequired, "a", "b", "d")
		find("unknown", nil, "a", "unknown")
	})
}

func TestAnAnswerForAnotherPersonIsRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		mine := install("ann", "r1", 1)
		mine.HubUserID = 7
		if _, err := b.Connect(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
		other := install("ann", "r1", 1)
		other.HubUserID = 8
		if _, err := b.Connect(t.Context(), other); !errors.Is(err, connection.ErrPersonChange) || !errors.Is(err, connection.ErrPortalChange) {
			t.Errorf("connecting as another person: %v", err)
		}
		b.provider.set(func() {
			b.provider.answers = func(string) (hubspot.Grant, error) {
				return hubspot.Grant{AccessToken: secret.New("stray"), RefreshToken: secret.New("r1"), HubID: 1, UserID: 8, ExpiresIn: 30 * time.Minute}, nil
			}
		})
		if _, err := b.ForceRefresh(t.Context(), "ann"); !errors.Is(err, connection.ErrOtherPortal) {
			t.Errorf("refreshing as another person: %v", err)
		}
		b.want(t, "ann", "first-r1")
		if got := b.store.get("ann"); got.HubUserID != 7 || got.AccessToken.Reveal() == "stray" {
			t.Errorf("stored for %d", got.HubUserID)
		}
		b.provider.set(func() { b.provider.answers = nil })
		time.Sleep(time.Hour)
		if _, err := b.Token(t.Context(), "ann"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// Others of the account may widen or narrow a grant that a user stands on.
func TestScopesThatARefreshChanges(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		mine := install("ann", "r1", 1)
		mine.Asked, mine.Grant.Scopes = []string{"oauth", "a", "b", "c"}, []string{"oauth", "a"}
		if _, err := b.Connect(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
		for i, tc := range []struct{ granted, missing []string }{
			{[]string{"oauth", "a", "b"}, []string{"c"}},
			{[]string{"oauth", "c"}, []string{"a", "b"}},
			{[]string{"oauth", "a", "b", "c"}, nil},
		} {
			b.provider.set(func() {
				b.provider.answers = func(string) (hubspot.Grant, error) {
					return hubspot.Grant{AccessToken: secret.New(fmt.Sprint("t", i)), RefreshToken: secret.New("r1"), HubID: 1, Scopes: tc.granted, ExpiresIn: 30 * time.Minute}, nil
				}
			})
			time.Sleep(5 * time.Minute)
			got, err := b.ForceRefresh(t.Context(), "ann")
			slices.Sort(got.MissingScopes)
			if err != nil || !slices.Equal(got.Scopes, tc.granted) || !slices.Equal(got.MissingScopes, tc.missing) {
				t.Errorf("granted %q, missing %q, %v; want %q, %q", got.Scopes, got.MissingScopes, err, tc.granted, tc.missing)
			}
		}
	})
}
