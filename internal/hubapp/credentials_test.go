package hubapp

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// credentialKeeper is a store of client credentials of which the test says
// what it has.
type credentialKeeper struct {
	connection.Store
	mu       sync.Mutex
	id, text string
	next     string
	err      error
	reads    atomic.Int64
	// gate, if not nil, holds readings up until it is closed.
	gate chan struct{}
}

func (k *credentialKeeper) set(id, text string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.id, k.text, k.err = id, text, err
}

func (k *credentialKeeper) AppCredentials(ctx context.Context, path string) (string, string, string, error) {
	k.reads.Add(1)
	if k.gate != nil {
		<-k.gate
	}
	if path != "secret/hubspot-apps/hbdev" {
		return "", "", "", errors.New("unexpected path " + path)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id, k.text, k.next, k.err
}

// clock is a time that the test moves.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func TestStoredCredentials(t *testing.T) {
	t.Parallel()
	keeper, clock := new(credentialKeeper), new(clock)
	source := NewStoredCredentials(keeper, "secret/hubspot-apps/hbdev")
	source.now = clock.now
	want := func(secret string, reads int64) {
		t.Helper()
		creds, err := source.Credentials(t.Context())
		if err != nil || creds.Secret.Reveal() != secret {
			t.Errorf("secret %q, error %v; want %q", creds.Secret.Reveal(), err, secret)
		}
		if got := keeper.reads.Load(); got != reads && reads >= 0 {
			t.Errorf("store was read %d times, want %d", got, reads)
		}
	}
	// landed waits for a reading that is under way.
	landed := func() { _, _, _ = source.flight.Do("", func() (any, error) { return nil, nil }) }
	down := errors.New("connection refused")

	keeper.set("", "", down)
	for range 2 {
		_, err := source.Credentials(t.Context())
		if !errors.Is(err, connection.ErrUnavailable) || !errors.Is(err, down) {
			t.Errorf("error of a store that is down: %v", err)
		}
	}
	if got := keeper.reads.Load(); got != 1 {
		t.Errorf("store that is down was read %d times at once, want 1", got)
	}
	clock.advance(credentialsRetry)
	keeper.set("id", "", nil)
	if _, err := source.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "client_secret is missing or empty") {
		t.Errorf("error of a half-filled secret: %v", err)
	}
	clock.advance(credentialsRetry)
	keeper.set("id", "one", nil)
	want("one", 3)
	want("one", 3)
	keeper.set("id", "two", nil)
	clock.advance(credentialsLife)
	want("two", 4)
	// Vault is down: the last known ones serve.
	keeper.set("", "", down)
	clock.advance(credentialsLife)
	want("two", 5)
	want("two", 5)
	clock.advance(credentialsRetry)
	// Nobody waits for it any more: it is read while the old ones serve.
	want("two", -1)
	landed()
	want("two", 6)
	// HubSpot refuses them: they are read again, but not at every refusal.
	keeper.set("id", "three", nil)
	clock.advance(credentialsRetry)
	want("two", -1)
	landed()
	want("three", 7)
	keeper.set("id", "four", nil)
	source.refused()
	want("three", 7)
	clock.advance(credentialsRetry)
	want("four", 8)

	// A rotated secret takes effect within a minute, and nobody who uses the
	// credentials all the time waits for the store.
	keeper.set("id", "five", nil)
	clock.advance(credentialsRenew)
	want("four", -1)
	landed()
	want("five", 9)
	keeper.set("id", "six", nil)
	clock.advance(credentialsLife)
	want("six", 10)
	if credentialsLife >= time.Minute {
		t.Errorf("credentials are used for %v", credentialsLife)
	}
}

func TestStoredCredentialsAreReadOnce(t *testing.T) {
	t.Parallel()
	keeper := &credentialKeeper{id: "id", text: "secret", gate: make(chan struct{})}
	source := NewStoredCredentials(keeper, "secret/hubspot-apps/hbdev")
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Credentials(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("error for a caller that went away: %v", err)
	}
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			if creds, err := source.Credentials(t.Context()); err != nil || creds.ClientID != "id" {
				t.Errorf("credentials: %v, %v", creds.ClientID, err)
			}
		})
	}
	close(keeper.gate)
	done.Wait()
	if got := keeper.reads.Load(); got != 1 {
		t.Errorf("store was read %d times, want once", got)
	}
}

func TestRefusedCredentialsAreReadAgain(t *testing.T) {
	t.Parallel()
	hubSpot, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hubSpot)
	t.Cleanup(server.Close)
	endpoints := hubspot.Endpoints{API: server.URL}
	keeper, clock := &credentialKeeper{id: sandbox.DemoClientID, text: "wrong"}, new(clock)
	source := NewStoredCredentials(keeper, "secret/hubspot-apps/hbdev")
	source.now = clock.now
	provider := source.Provider(&hubspot.Client{Endpoints: endpoints, Credentials: source})
	refuse := func() {
		t.Helper()
		_, err := provider.Refresh(t.Context(), secret.New("no-such-token"))
		if hubspot.Classify(err) != hubspot.ClassMisconfigured {
			t.Fatalf("error with a wrong client secret: %v", err)
		}
	}
	refuse()
	keeper.set(sandbox.DemoClientID, sandbox.DemoClientSecret, nil)
	clock.advance(credentialsRetry)
	if _, err := provider.Refresh(t.Context(), secret.New("no-such-token")); hubspot.Classify(err) != hubspot.ClassDeadGrant {
		t.Errorf("error once the secret is right: %v, want that of a dead grant", err)
	}

	// So does the end of an install.
	keeper.set(sandbox.DemoClientID, "wrong again", nil)
	clock.advance(credentialsLife)
	app := &App{Client: &hubspot.Client{
		Endpoints: endpoints, Credentials: source, RedirectURI: "http://localhost/hubspot/hbdev/callback",
	}}
	if _, err := app.Exchange(t.Context(), "no-such-code", "verifier"); hubspot.Classify(err) != hubspot.ClassMisconfigured {
		t.Errorf("error of an exchange with a wrong client secret: %v", err)
	}
	keeper.set(sandbox.DemoClientID, sandbox.DemoClientSecret, nil)
	clock.advance(credentialsRetry)
	if _, err := app.Exchange(t.Context(), "no-such-code", "verifier"); hubspot.Classify(err) != hubspot.ClassBadCode {
		t.Errorf("error once the secret is right: %v, want that of a bad code", err)
	}
}

// A rotation in the store shows as it is there, and looking at it asks nothing.
func TestRotationInTheStore(t *testing.T) {
	t.Parallel()
	keeper, clock := &credentialKeeper{id: "id", text: "old"}, new(clock)
	source := NewStoredCredentials(keeper, "secret/hubspot-apps/hbdev")
	source.now = clock.now
	app := &App{Name: "hbdev", Client: &hubspot.Client{Credentials: source}, Secrets: secretuse.NewLedger(clock.now)}
	if got := app.Rotation(); got != nil || keeper.reads.Load() != 0 {
		t.Errorf("before anything is known: %v, %d readings", got, keeper.reads.Load())
	}
	open := func(sealed string) {
		t.Helper()
		sealer, err := app.StateSealer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sealer.Open(sealed, clock.now()); err != nil {
			t.Error(err)
		}
	}
	clock.advance(time.Hour)
	sealer, err := app.StateSealer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(oauthstate.State{User: "acme", Verifier: hubspot.NewVerifier(), Nonce: "n", IssuedAt: clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	open(sealed)
	if got := app.Rotation(); got != nil {
		t.Errorf("with one secret: %v", got)
	}
	keeper.mu.Lock()
	keeper.text, keeper.next = "new", "old"
	keeper.mu.Unlock()
	clock.advance(credentialsLife)
	open(sealed)
	got := app.Rotation()
	if len(got) != 2 || got[0].Setting != "client_secret" || !got[0].LastNeeded().IsZero() ||
		got[1].Setting != "client_secret_next" || !got[1].LastNeeded().Equal(clock.now()) || len(got[1].Uses) != 1 {
		t.Errorf("rotation: %+v", got)
	}
}
