package hubapp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// CredentialStore is a [connection.Store] that can also keep the client credentials of
// HubSpot apps, for the app setting `credentials`.
type CredentialStore interface {
	connection.Store

	// AppCredentials reads the fields client_id, client_secret and, if
	// there is one, client_secret_next of the secret at path. It returns
	// within the store's own timeout. Its errors hold no secret.
	AppCredentials(ctx context.Context, path string) (clientID, clientSecret, nextSecret string, err error)
}

const (
	// credentialsLife is how long credentials are used before they are
	// read again, to see a rotated secret.
	credentialsLife = 5 * time.Minute
	// credentialsRetry is how long after a failed reading, or after HubSpot
	// refused them, they are read again at the earliest.
	credentialsRetry = 10 * time.Second
)

// StoredCredentials reads an app's client credentials from the store, when
// they are first needed and every few minutes after that. While the store
// does not answer, the last known ones serve. It is safe for concurrent use.
type StoredCredentials struct {
	store CredentialStore
	path  string
	now   func() time.Time

	flight singleflight.Group

	mu    sync.Mutex
	known hubspot.Credentials
	// readAt is when the store was last asked, and goodUntil from when on
	// it is to be asked again.
	readAt    time.Time
	goodUntil time.Time
	err       error
}

func NewStoredCredentials(store CredentialStore, path string) *StoredCredentials {
	return &StoredCredentials{store: store, path: path, now: time.Now}
}

// Credentials implements [hubspot.CredentialSource]. Its error wraps
// [connection.ErrUnavailable]: there are none as long as the store has never
// given any.
func (s *StoredCredentials) Credentials(ctx context.Context) (hubspot.Credentials, error) {
	if creds, err, ok := s.remembered(); ok {
		return creds, err
	}
	done := s.flight.DoChan("", func() (any, error) {
		s.read(context.WithoutCancel(ctx))
		return nil, nil
	})
	select {
	case <-done:
		creds, err, _ := s.remembered()
		return creds, err
	case <-ctx.Done():
		if creds, _, _ := s.remembered(); creds.ClientID != "" {
			return creds, nil
		}
		return hubspot.Credentials{}, context.Cause(ctx)
	}
}

// remembered returns what is known; ok is false if it is time to read again.
func (s *StoredCredentials) remembered() (creds hubspot.Credentials, err error, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known, s.err, s.now().Before(s.goodUntil)
}

// read asks the store and notes what it said.
func (s *StoredCredentials) read(ctx context.Context) {
	creds, err := s.ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readAt = s.now()
	if err == nil {
		s.known, s.err, s.goodUntil = creds, nil, s.readAt.Add(credentialsLife)
		return
	}
	s.goodUntil = s.readAt.Add(credentialsRetry)
	if s.known.ClientID == "" {
		s.err = err
	}
}

func (s *StoredCredentials) ask(ctx context.Context) (hubspot.Credentials, error) {
	id, first, next, err := s.store.AppCredentials(ctx, s.path)
	if err == nil && (id == "" || first == "") {
		err = errors.New("field client_id or client_secret is missing or empty")
	}
	if err != nil {
		err = fmt.Errorf("reading client credentials at %q: %w", s.path, err)
		if !errors.Is(err, connection.ErrUnavailable) && !errors.Is(err, connection.ErrDenied) {
			err = fmt.Errorf("%w: %w", connection.ErrUnavailable, err)
		}
		return hubspot.Credentials{}, err
	}
	return hubspot.Credentials{ClientID: id, Secret: secret.New(first), NextSecret: secret.New(next)}, nil
}

// refused has the credentials read again soon: HubSpot does not take them.
func (s *StoredCredentials) refused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if earliest := s.readAt.Add(credentialsRetry); earliest.Before(s.goodUntil) {
		s.goodUntil = earliest
	}
}

// refusedBy has the credentials read again soon if err says that HubSpot does
// not take them.
func (s *StoredCredentials) refusedBy(err error) {
	if err != nil && hubspot.Classify(err) == hubspot.ClassMisconfigured {
		s.refused()
	}
}

// Provider returns the client as a [connection.Provider] that has the
// credentials read again when HubSpot refuses them.
func (s *StoredCredentials) Provider(client *hubspot.Client) connection.Provider {
	return noting{client, s}
}

type noting struct {
	*hubspot.Client
	credentials *StoredCredentials
}

// Refresh implements [connection.Provider].
func (n noting) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	grant, err := n.Client.Refresh(ctx, token)
	n.credentials.refusedBy(err)
	return grant, err
}

// Interface guard
var _ hubspot.CredentialSource = (*StoredCredentials)(nil)
