package hubspot

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

// maxExpiresIn is the longest believable life of an access token: HubSpot's
// live for 30 minutes, and lived for 6 hours until 2021.
const maxExpiresIn = 24 * time.Hour

// maxTokenSize is far above HubSpot's own promise of 512 characters, and
// keeps an answer from filling the cache and the store.
const maxTokenSize = 8 << 10

// Grant is a good answer of the token endpoint.
type Grant struct {
	AccessToken secret.Text
	// RefreshToken is the one to keep from now on; HubSpot gives the same
	// again (observed 2026-09) but promises nothing.
	RefreshToken secret.Text
	// HubID is the portal (HubSpot account). It may be 0 after a Refresh.
	// Whether it is the expected one is the caller's business.
	HubID int64
	// Scopes are the granted ones; nil if the answer did not say.
	Scopes []string
	// ExpiresIn is the life of the access token, counted from the answer:
	// always positive and at most 24 h.
	ExpiresIn time.Duration
	// UserID is the HubSpot user who installed the app; 0 if unknown.
	UserID int64
}

// Exchange redeems the code of a callback. verifier is that of the request
// the code belongs to; it is empty, and none is sent, for a request that
// HubSpot's own install button made. Errors are a *[TokenError], or come from
// the [CredentialSource].
func (c *Client) Exchange(ctx context.Context, code, verifier string) (Grant, error) {
	var options []oauth2.AuthCodeOption
	if verifier != "" {
		options = append(options, oauth2.VerifierOption(verifier))
	}
	sent := []secret.Text{secret.New(code), secret.New(verifier)}
	grant, err := c.grant(ctx, opExchange, sent, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, error) {
		return config.Exchange(ctx, code, options...)
	})
	if err != nil {
		return Grant{}, err
	}
	if grant.HubID == 0 {
		return Grant{}, brokenAnswer("the answer has no hub_id")
	}
	return grant, nil
}

// Refresh gets a new access token. refreshToken must not be empty. Errors
// are otherwise as those of Exchange.
func (c *Client) Refresh(ctx context.Context, refreshToken secret.Text) (Grant, error) {
	if refreshToken.IsZero() {
		// HubSpot was not asked: this speaks neither of the app nor of a grant.
		return Grant{}, errors.New("refreshing access token: there is no refresh token")
	}
	return c.grant(ctx, opRefresh, []secret.Text{refreshToken}, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, error) {
		return config.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken.Reveal()}).Token()
	})
}

type operation int

const (
	opExchange operation = iota
	opRefresh
	opRevoke
	opClientCredentials
	opIntrospect
)

// purpose is what a client secret is needed for in the operation.
func (o operation) purpose() secretuse.Purpose {
	switch o {
	case opExchange:
		return secretuse.CodeExchange
	case opRefresh:
		return secretuse.Refresh
	case opRevoke:
		return secretuse.Revoke
	case opClientCredentials:
		return secretuse.AppToken
	}
	return secretuse.Introspection
}

type retrieveFunc func(context.Context, *oauth2.Config) (*oauth2.Token, error)

// grant asks the token endpoint through x/oauth2 and judges the answer. sent
// are the secrets of the request beside the client's.
func (c *Client) grant(ctx context.Context, op operation, sent []secret.Text, retrieve retrieveFunc) (Grant, error) {
	var grant Grant
	err := c.authenticate(ctx, op.purpose(), func(clientID string, clientSecret secret.Text) error {
		call := c.newCall(append(slices.Clone(sent), clientSecret)...)
		token, err := retrieve(context.WithValue(ctx, oauth2.HTTPClient, call.client), c.config(clientID, clientSecret))
		if err != nil {
			return c.tokenError(ctx, op, call, err)
		}
		grant, err = newGrant(token)
		return err
	})
	return grant, err
}

func (c *Client) config(clientID string, clientSecret secret.Text) *oauth2.Config {
	endpoints := c.Endpoints.WithDefaults()
	return &oauth2.Config{
		ClientID:     clientID,
		ClientSecret: clientSecret.Reveal(),
		RedirectURL:  c.RedirectURI,
		Endpoint: oauth2.Endpoint{
			AuthURL:  endpoints.Authorize,
			TokenURL: endpoints.TokenURL(),
			// Fixed, because guessing sends a failing request twice and a
			// code works once.
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// newGrant refuses an answer that cannot be used or is not to be believed.
// All such answers are transient faults: none says anything about the grant.
func newGrant(token *oauth2.Token) (Grant, error) {
	lifetime, err := accessLife(token)
	switch {
	case err != nil:
		return Grant{}, err
	case !UsableToken(token.RefreshToken):
		return Grant{}, brokenAnswer("the answer has no usable refresh_token")
	}
	grant := Grant{
		AccessToken:  secret.New(token.AccessToken),
		RefreshToken: secret.New(token.RefreshToken),
		Scopes:       stringList(token.Extra("scopes")),
		ExpiresIn:    lifetime,
	}
	grant.HubID, _ = integer(token.Extra("hub_id"))
	grant.UserID, _ = integer(token.Extra("user_id"))
	return grant, nil
}

// accessLife checks the access token of an answer and returns how long it
// lives.
func accessLife(token *oauth2.Token) (time.Duration, error) {
	lifetime, ok := integer(token.Extra("expires_in"))
	switch {
	case !UsableToken(token.AccessToken):
		return 0, brokenAnswer("the answer's access_token is unusable")
	case !ok || lifetime > int64(maxExpiresIn/time.Second):
		return 0, brokenAnswer("the answer's expires_in is not between 1 second and 24 hours")
	}
	return time.Duration(lifetime) * time.Second, nil
}

// UsableToken reports whether a token can stand in a header (RFC 6750 2.1
// is narrower: that much is HubSpot's to keep).
func UsableToken(token string) bool {
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	return token != "" && len(token) <= maxTokenSize && !strings.ContainsFunc(token, unprintable)
}

// integer reads a positive whole number that encoding/json left as float64.
func integer(v any) (int64, bool) {
	f, ok := v.(float64)
	if !ok || f < 1 || f > 1<<53 || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

func stringList(v any) []string {
	values, _ := v.([]any)
	var list []string
	for _, value := range values {
		// Scopes are kept separated by spaces, so one cannot hold any.
		if s, ok := value.(string); ok && UsableToken(s) {
			list = append(list, s)
		}
	}
	return list
}

// Revoke makes a refresh token useless. One that HubSpot no longer knows is
// as good as revoked: nil. Access tokens live on until they expire. Other
// errors are as those of Exchange.
func (c *Client) Revoke(ctx context.Context, refreshToken secret.Text) error {
	if refreshToken.IsZero() {
		return nil
	}
	err := c.authenticate(ctx, opRevoke.purpose(), func(clientID string, clientSecret secret.Text) error {
		return c.revoke(ctx, clientID, clientSecret, refreshToken)
	})
	if te, ok := errors.AsType[*TokenError](err); ok && te.Class == ClassDeadGrant {
		return nil
	}
	return err
}
