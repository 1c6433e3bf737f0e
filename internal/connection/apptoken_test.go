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

// appProvider gives tokens of the app itself, numbered.
type appProvider struct {
	*provider
	mu     sync.Mutex
	asked  []string
	refuse error
}

func (p *appProvider) ClientCredentials(ctx context.Context, scopes []string) (hubspot.AppGrant, error) {
	time.Sleep(100 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, strings.Join(scopes, " "))
	if p.refuse != nil {
		return hubspot.AppGrant{}, p.refuse
	}
	return hubspot.AppGrant{
		AccessToken: secret.New(fmt.Sprint("app-token-", len(p.asked))), Scopes: scopes, ExpiresIn: 30 * time.Minute,
	}, ctx.Err()
}

func (p *appProvider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func (p *appProvider) refusing(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = err
}

// inApp runs f in a bubble of fake time.
func inApp(t *testing.T, f func(t *testing.T, b *bench, p *appProvider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &appProvider{provider: newProvider("r1")}
		events := &recorder{}
		m := connection.NewManager(connection.Config{App: app, Store: newMemStore(), Provider: p, Observer: events})
		defer func() { _ = m.Close(context.Background()) }()
		f(t, &bench{Manager: m, provider: p.provider, events: events}, p)
	})
}

var journalScopes = []string{"journal.read", "journal.write"}

func (b *bench) appToken(t *testing.T) string {
	t.Helper()
	token, err := b.AppToken(t.Context(), journalScopes)
	if err != nil {
		t.Fatal(err)
	}
	if token.HubID != 0 {
		t.Errorf("the app's token is of portal %d", token.HubID)
	}
	return token.Access.Reveal()
}

func TestAppTokenIsSharedAndKept(t *testing.T) {
	t.Parallel()
	inApp(t, func(t *testing.T, b *bench, p *appProvider) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { b.appToken(t) })
		}
		all.Wait()
		// The order of the scopes makes no other token.
		if _, err := b.AppToken(t.Context(), []string{"journal.write", "journal.read"}); err != nil {
			t.Fatal(err)
		}
		if p.count() != 1 {
			t.Errorf("HubSpot was asked %d times", p.count())
		}
		if _, err := b.AppToken(t.Context(), []string{"another"}); err != nil || p.count() != 2 {
			t.Errorf("other scopes: error %v, asked %d times", err, p.count())
		}
	})
}

// TestAppTokenIsRefreshedByTheClock: callers never wait for the next one, and
// what is refused does not take away the one that is there.
func TestAppTokenIsRefreshedByTheClock(t *testing.T) {
	t.Parallel()
	inApp(t, func(t *testing.T, b *bench, p *appProvider) {
		first := b.appToken(t)
		p.refusing(errors.New("away"))
		time.Sleep(25 * time.Minute)
		if b.appToken(t) != first {
			t.Error("another token while HubSpot is away")
		}
		time.Sleep(time.Second) // the try behind that call
		if p.count() < 2 {
			t.Error("it was not asked for before its end")
		}
		p.refusing(nil)
		time.Sleep(time.Minute)
		b.appToken(t)
		time.Sleep(time.Second)
		begun := time.Now()
		if b.appToken(t) == first || time.Since(begun) != 0 {
			t.Errorf("the next token was not there, or waited for: %v", time.Since(begun))
		}
	})
}

func TestAppTokenOfAMisconfiguredApp(t *testing.T) {
	t.Parallel()
	inApp(t, func(t *testing.T, b *bench, p *appProvider) {
		p.refusing(&hubspot.TokenError{Class: hubspot.ClassMisconfigured, Status: "BAD_CLIENT_SECRET"})
		for range 5 {
			if _, err := b.AppToken(t.Context(), journalScopes); !errors.Is(err, connection.ErrAppMisconfigured) {
				t.Errorf("error %v", err)
			}
		}
		if _, raised := b.Alarms()[connection.AlarmMisconfigured]; !raised || p.count() != 1 {
			t.Errorf("alarms %v, asked %d times; want the app paused", b.Alarms(), p.count())
		}
		p.refusing(nil)
		time.Sleep(31 * time.Second)
		b.appToken(t)
		if len(b.Alarms()) != 0 {
			t.Errorf("alarms %v", b.Alarms())
		}
	})
}

// TestAppTokenRefused: wrong scopes are no reason to pause the app's refreshes,
// and nothing that these could mend.
func TestAppTokenRefused(t *testing.T) {
	t.Parallel()
	inApp(t, func(t *testing.T, b *bench, p *appProvider) {
		p.refusing(&hubspot.TokenError{Class: hubspot.ClassConnection, HTTPStatus: 400, Status: "BAD_SCOPES"})
		_, err := b.AppToken(t.Context(), journalScopes)
		if !errors.Is(err, connection.ErrTokenUnavailable) || !strings.Contains(err.Error(), "BAD_SCOPES") {
			t.Errorf("error %v", err)
		}
		b.connect(t, "acme", "r1", 1)
		if _, err := b.ForceRefresh(t.Context(), "acme"); err != nil {
			t.Errorf("refresh: %v", err)
		}
		if _, raised := b.Alarms()[connection.AlarmAppToken]; !raised {
			t.Errorf("alarms %v", b.Alarms())
		}
		p.refusing(nil)
		time.Sleep(3 * time.Minute)
		b.appToken(t)
		if len(b.Alarms()) != 0 {
			t.Errorf("alarms %v", b.Alarms())
		}
	})
}

// TestAppTokenRejected: a token that HubSpot does not take is replaced once a
// minute.
func TestAppTokenRejected(t *testing.T) {
	t.Parallel()
	inApp(t, func(t *testing.T, b *bench, p *appProvider) {
		first, err := b.AppToken(t.Context(), journalScopes)
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.AppTokenRejected(t.Context(), journalScopes, first)
		if err != nil || second.Access.Equal(first.Access) {
			t.Fatalf("token %v, error %v", second, err)
		}
		if again, err := b.AppTokenRejected(t.Context(), journalScopes, first); err != nil || !again.Access.Equal(second.Access) {
			t.Errorf("a late refusal: %v", err)
		}
		var held *connection.HeldBack
		if _, err := b.AppTokenRejected(t.Context(), journalScopes, second); !errors.As(err, &held) || p.count() != 2 {
			t.Errorf("error %v, asked %d times", err, p.count())
		}
	})
}

func TestEachOfPortals(t *testing.T) {
	t.Parallel()
	store := newListStore(500)
	m := connection.NewManager(connection.Config{App: app, Store: store, Provider: newProvider()})
	defer func() { _ = m.Close(context.Background()) }()
	found := 0
	err := m.EachOfPortals(t.Context(), func(hubID int64) bool { return hubID%100 == 7 }, func(r connection.Record) error {
		found++
		if r.HubID%100 != 7 || r.Status == connection.StatusDisconnected {
			t.Errorf("got %s of portal %d", r.Status, r.HubID)
		}
		return nil
	})
	if err != nil || found != 4 {
		t.Errorf("found %d, error %v; want 4, one of five being a tombstone", found, err)
	}
	stop := errors.New("stop")
	if err := m.EachOfPortals(t.Context(), func(int64) bool { return true }, func(connection.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// listStore lists numbered connections, each of its own portal.
type listStore struct {
	*memStore
	all []connection.Versioned
}

func newListStore(n int) *listStore {
	s := &listStore{memStore: newMemStore()}
	for i := range n {
		v := connection.Versioned{Record: connection.Record{Key: connection.Key{App: app, User: fmt.Sprint(i)}, HubID: int64(i), Status: connection.StatusActive}}
		if i == 207 {
			v.Status = connection.StatusDisconnected
		}
		s.all = append(s.all, v)
	}
	return s
}

func (s *listStore) List(_ context.Context, _, cursor string, limit int) (connection.Page, error) {
	begin := 0
	_, _ = fmt.Sscan(cursor, &begin)
	end := min(begin+limit, len(s.all))
	page := connection.Page{Records: s.all[begin:end]}
	if end < len(s.all) {
		page.Next = fmt.Sprint(end)
	}
	return page, nil
}
