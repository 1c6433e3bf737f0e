package hubspot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// Credentials are what an app proves itself with. The zero value is no
// credentials and is refused by every call.
type Credentials struct {
	// ClientID is public: it stands in every install link.
	ClientID string
	// Secret is the client secret in use.
	Secret secret.Text
	// NextSecret is accepted beside Secret while a secret is being rotated;
	// empty otherwise.
	NextSecret secret.Text
}

// CredentialSource hands out an app's credentials. It is asked for each call
// to HubSpot, so that a rotated secret is picked up; it must be safe for
// concurrent use and should answer from memory. Its errors count as
// transient.
type CredentialSource interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// StaticCredentials is a [CredentialSource] that always gives the same.
type StaticCredentials Credentials

// Credentials returns s; it never fails.
func (s StaticCredentials) Credentials(context.Context) (Credentials, error) {
	return Credentials(s), nil
}

// credentials asks the source and refuses what HubSpot would refuse.
func (c *Client) credentials(ctx context.Context) (Credentials, error) {
	if c.Credentials == nil {
		return Credentials{}, misconfigured("no client credentials are configured")
	}
	creds, err := c.Credentials.Credentials(ctx)
	switch {
	case err != nil:
		return Credentials{}, fmt.Errorf("reading client credentials: %w", err)
	case creds.ClientID == "":
		return Credentials{}, misconfigured("client_id is empty")
	case creds.Secret.IsZero():
		return Credentials{}, misconfigured("client_secret is empty")
	}
	return creds, nil
}

// acceptedFor is how long the second client secret is tried first because
// HubSpot has refused the first: that one may be accepted by then, and only so
// is it known that the other is not needed any more.
const acceptedFor = 5 * time.Minute

// acceptedSecret is a client secret that HubSpot accepted.
type acceptedSecret struct {
	secret secret.Text
	// since is when HubSpot accepted it after it had refused the other.
	since time.Time
}

// authenticate runs call with the app's client secret, and with the other
// one if HubSpot says that the first is wrong. The secret that HubSpot
// accepted last is the first to be tried for a while.
func (c *Client) authenticate(ctx context.Context, purpose secretuse.Purpose, call func(clientID string, secret secret.Text) error) error {
	creds, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	for _, s := range c.secretsInOrder(creds) {
		err = call(creds.ClientID, s)
		if !secretRefused(err) {
			c.remember(s, purpose, err)
			break
		}
	}
	return err
}

func (c *Client) secretsInOrder(creds Credentials) []secret.Text {
	secrets := []secret.Text{creds.Secret}
	if !creds.NextSecret.IsZero() && !creds.NextSecret.Equal(creds.Secret) {
		secrets = append(secrets, creds.NextSecret)
	}
	accepted := c.accepted.Load()
	if len(secrets) == 2 && accepted != nil && accepted.secret.Equal(creds.NextSecret) && c.now().Sub(accepted.since) < acceptedFor {
		slices.Reverse(secrets)
	}
	return secrets
}

// remember notes that HubSpot knew the secret. An answer that shows nothing
// about the secret changes nothing.
func (c *Client) remember(s secret.Text, purpose secretuse.Purpose, err error) {
	if err != nil && Classify(err) != ClassDeadGrant && Classify(err) != ClassBadCode {
		return
	}
	if c.SecretUsed != nil {
		c.SecretUsed(s, purpose)
	}
	now := c.now()
	if before := c.accepted.Load(); before == nil || !before.secret.Equal(s) || now.Sub(before.since) >= acceptedFor {
		c.accepted.Store(&acceptedSecret{secret: s, since: now})
	}
}

// secretRefused reports whether another client secret may be what HubSpot
// wants. An unknown client id is not cured by one.
func secretRefused(err error) bool {
	te, ok := errors.AsType[*TokenError](err)
	if !ok || te.Class != ClassMisconfigured {
		return false
	}
	return te.Status == statusBadClientSecret || te.Code == codeInvalidClient && te.Status != statusBadClientID
}

// ClientUUID returns the name-based UUID (RFC 9562 version 5) of an app's
// client id: stable, and safe to show.
func ClientUUID(clientID string) string {
	name := "urn:hubspot:client:" + strings.ToLower(strings.TrimSpace(clientID))
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String()
}
