package hubspot

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// JournalScopes are what reading the webhooks journal and subscribing to its
// events takes, of a token of the app itself
// (https://developers.hubspot.com/docs/api-reference/latest/webhooks-journal/guide).
func JournalScopes() []string {
	return []string{
		"developer.webhooks_journal.read",
		"developer.webhooks_journal.subscriptions.read",
		"developer.webhooks_journal.subscriptions.write",
	}
}

// AppGrant is a token of the app itself (RFC 6749, 4.4), which opens no
// portal. There is no refresh token: when it ends, another one is asked for.
type AppGrant struct {
	AccessToken secret.Text
	// Scopes are the granted ones; nil if the answer did not say.
	Scopes []string
	// ExpiresIn is counted from the answer: positive and at most 24 h.
	ExpiresIn time.Duration
}

// ClientCredentials gets a token of the app itself with the scopes, of which
// there must be some. Errors are those of [Client.Exchange].
func (c *Client) ClientCredentials(ctx context.Context, scopes []string) (AppGrant, error) {
	if len(scopes) == 0 {
		// HubSpot was not asked; it would answer BAD_SCOPES.
		return AppGrant{}, errors.New("getting a token of the app: no scope is named")
	}
	var grant AppGrant
	err := c.authenticate(ctx, opClientCredentials.purpose(), func(clientID string, clientSecret secret.Text) error {
		call := c.newCall(clientSecret)
		config := clientcredentials.Config{
			ClientID: clientID, ClientSecret: clientSecret.Reveal(), TokenURL: c.Endpoints.TokenURL(),
			Scopes: scopes, AuthStyle: oauth2.AuthStyleInParams,
		}
		token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, call.client))
		if err != nil {
			return c.tokenError(ctx, opClientCredentials, call, err)
		}
		grant, err = newAppGrant(token)
		return err
	})
	return grant, err
}

func newAppGrant(token *oauth2.Token) (AppGrant, error) {
	lifetime, err := accessLife(token)
	if err != nil {
		return AppGrant{}, err
	}
	return AppGrant{
		AccessToken: secret.New(token.AccessToken),
		Scopes:      stringList(token.Extra("scopes")),
		ExpiresIn:   lifetime,
	}, nil
}
