package hubapp

import (
	"context"
	"sync/atomic"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// sealers are what seals and opens for an app with one set of client secrets.
type sealers struct {
	first, next secret.Text
	states      *oauthstate.Sealer
	tokens      *usertoken.Sealer
}

// sealerCache keeps an app's sealers until its client secrets are others, so
// that keys are not derived for each request. The zero value is empty. It is
// safe for concurrent use.
type sealerCache struct {
	current atomic.Pointer[sealers]
}

// of returns the sealers of app for its credentials.
func (c *sealerCache) of(app string, creds hubspot.Credentials, used *secretuse.Ledger) (*sealers, error) {
	// Texts that are one and the same compare equal. Equal ones of another
	// reading do not, and cost a derivation.
	if s := c.current.Load(); s != nil && s.first == creds.Secret && s.next == creds.NextSecret {
		return s, nil
	}
	states, err := oauthstate.NewSealer(app, creds.Secret, creds.NextSecret)
	if err != nil {
		return nil, err
	}
	tokens, err := usertoken.NewSealer(app, creds.Secret, creds.NextSecret)
	if err != nil {
		return nil, err
	}
	s := &sealers{
		first: creds.Secret, next: creds.NextSecret,
		states: states.Noting(used.Noting(secretuse.InstallState)),
		tokens: tokens.Noting(used.Noting(secretuse.UserToken)),
	}
	c.current.Store(s)
	return s, nil
}

// StateSealer returns what seals and opens the state of the app's installs. It
// fails as Credentials does.
func (a *App) StateSealer(ctx context.Context) (*oauthstate.Sealer, error) {
	s, err := a.currentSealers(ctx)
	if err != nil {
		return nil, err
	}
	return s.states, nil
}

// TokenSealer returns what seals and opens the app's user tokens. It fails as
// Credentials does.
func (a *App) TokenSealer(ctx context.Context) (*usertoken.Sealer, error) {
	s, err := a.currentSealers(ctx)
	if err != nil {
		return nil, err
	}
	return s.tokens, nil
}

func (a *App) currentSealers(ctx context.Context) (*sealers, error) {
	credentials, err := a.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	return a.sealers.of(a.Name, credentials, a.Secrets)
}
