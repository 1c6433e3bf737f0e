package connection_test

import (
	"context"
	"crypto/rand"
	"runtime"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// watched makes secrets and knows whether the process still holds them.
type watched map[string]weak.Pointer[byte]

func (w watched) secret(name string) secret.Text {
	// Long enough not to share its memory with other small objects.
	text := rand.Text() + rand.Text()
	w[name] = weak.Make(unsafe.StringData(text))
	return secret.New(text)
}

// held returns the names of those that cannot be collected.
func (w watched) held() map[string]bool {
	runtime.GC()
	held := make(map[string]bool)
	for name, pointer := range w {
		if pointer.Value() != nil {
			held[name] = true
		}
	}
	return held
}

// watchedProvider grants secrets that are watched.
type watchedProvider struct {
	secrets watched
	names   []string
}

func (p *watchedProvider) Refresh(context.Context, secret.Text) (hubspot.Grant, error) {
	name := p.names[0]
	p.names = p.names[1:]
	return hubspot.Grant{
		AccessToken: p.secrets.secret(name + " access"), RefreshToken: p.secrets.secret(name + " refresh"),
		HubID: 1, ExpiresIn: time.Hour,
	}, nil
}

func (p *watchedProvider) Uninstall(context.Context, secret.Text) error { return nil }

func (p *watchedProvider) Revoke(context.Context, secret.Text) error { return nil }

// A token that was replaced, and every token of a connection that has ended,
// is gone from memory with the next garbage collection, also where HubSpot
// has refused it.
func TestTokensDoNotStayInMemory(t *testing.T) {
	secrets := make(watched)
	m := connection.NewManager(connection.Config{
		App: app, Store: newMemStore(), Provider: &watchedProvider{secrets, []string{"second"}}, Observer: &recorder{},
	})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	_, err := m.Connect(t.Context(), connection.Install{User: "acme", Nonce: "n", NonceUntil: time.Now().Add(time.Hour), Grant: hubspot.Grant{
		AccessToken: secrets.secret("first access"), RefreshToken: secrets.secret("first refresh"), HubID: 1, ExpiresIn: time.Hour,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if held := secrets.held(); !held["first access"] || !held["first refresh"] {
		t.Fatalf("the test cannot tell what is held: %v", held)
	}
	if _, err := m.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if held := secrets.held(); held["first access"] || held["first refresh"] || !held["second access"] {
		t.Errorf("after a refresh: %v", held)
	}
	if _, err := m.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	if held := secrets.held(); len(held) > 0 {
		t.Errorf("after the end of the connection: %v", held)
	}
	runtime.KeepAlive(m)
}
