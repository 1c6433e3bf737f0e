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
	// credentialsLife is how long credentials are used at the most before
	// the store is asked again, to see a rotated secret within a minute.
	credentialsLife = 55 * time.Second
	// credentialsRenew is from when on they are read again while they are
	// used, so that nobody has to wait for the store.
	credentialsRenew = 30 * time.Second
	// credentialsRetry is how long after a failed reading, or after HubSpot
	// refused them, they are read again at the earliest.
	credentialsRetry = 10 * time.Second
)

// StoredCredentials reads an app's client credentials from the store, when
// they are first needed and, if they are used, every half minute after that.
// While the store does not answer, the last known ones serve. It is safe for
// concurrent use.
type StoredCredentials struct {
	store CredentialStore
	path  string
	now   func() time.Time

	flight singleflight.Group

	mu    sync.Mutex
	known hubspot.Credentials
	// readAt is when the store was last asked, renewAt from when on it is to
	// be asked again, and goodUntil from when on that is waited for.
	readAt, renewAt, goodUntil time.Time
	err                        error
}

func NewStoredCredentials(store CredentialStore, path string) *StoredCredentials {
	return &StoredCredentials{store: store, path: path, now: time.Now}
}

// Credentials implements [hubspot.CredentialSource]. Its error wraps
// [connection.ErrUnavailable]: there are none as long as the store has never
// given any.
func (s *StoredCredentials) Credentials(ctx context.Context) (hubspot.Credentials, error) {
	creds, due, err := s.remembered()
	if due == notDue {
		return creds, err
	}
	done := s.flight.DoChan("", func() (any, error) {
		// One that has just ended may have read them.
		if _, due, _ := s.remembered(); due != notDue {
			s.read(context.WithoutCancel(ctx))
		}
		return nil, nil
	})
	if due == dueSoon {
		return creds, nil
	}
	select {
	case <-done:
		creds, _, err := s.remembered()
		return creds, err
	case <-ctx.Done():
		if creds, _, _ := s.remembered(); creds.ClientID != "" {
			return creds, nil
		}
		return hubspot.Credentials{}, context.Cause(ctx)
	}
}

// due is whether credentials are to be read again.
type due int

const (
	notDue due = iota
	// dueSoon is for what can be used meanwhile.
	dueSoon
	dueNow
)

// remembered returns what is known.
func (s *StoredCredentials) remembered() (hubspot.Credentials, due, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch now := s.now(); {
	case now.Before(s.renewAt):
		return s.known, notDue, s.err
	case now.Before(s.goodUntil):
		return s.known, dueSoon, s.err
	}
	return s.known, dueNow, s.err
}

// read asks the store and notes what it said.
func (s *StoredCredentials) read(ctx context.Context) {
	creds, err := s.ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readAt = s.now()
	s.renewAt, s.goodUntil = s.readAt.Add(credentialsRenew), s.readAt.Add(credentialsLife)
	switch {
	case err == nil:
		s.known, s.err = creds, nil
	case s.known.ClientID == "":
		s.err = err
		s.renewAt = s.readAt.Add(credentialsRetry)
		s.goodUntil = s.renewAt
	default:
		s.renewAt = s.readAt.Add(credentialsRetry)
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
		s.renewAt, s.goodUntil = earliest, earliest
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

// ClientCredentials implements [connection.AppProvider].
func (n noting) ClientCredentials(ctx context.Context, scopes []string) (hubspot.AppGrant, error) {
	grant, err := n.Client.ClientCredentials(ctx, scopes)
	n.credentials.refusedBy(err)
	return grant, err
}

// Interface guard
var _ hubspot.CredentialSource = (*StoredCredentials)(nil)
