package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// TokenKind is a kind of token that HubSpot can be asked about.
type TokenKind string

// The kinds of tokens, in the words of RFC 7662, token_type_hint.
const (
	KindAccessToken  TokenKind = "access_token"
	KindRefreshToken TokenKind = "refresh_token"
)

// Introspection is what HubSpot says of a token. Asking does not use the token
// up or change its life.
type Introspection struct {
	// Active says that the token works. The other fields are zero if it does
	// not, and each may be for one that does: HubSpot promises none of them.
	Active bool
	// ClientID is the app that the token was issued to.
	ClientID string
	// HubID is the portal (HubSpot account) that it opens.
	HubID int64
	// UserID is the HubSpot user who installed the app.
	UserID int64
	// Scopes are those of the grant.
	Scopes []string
	// ExpiresIn is the rest of an access token's life, at most 24 h.
	ExpiresIn time.Duration
}

// Introspect asks HubSpot about a token (RFC 7662). One that is unknown,
// revoked or of another app is not active, which is no error. Errors are as
// those of Exchange.
func (c *Client) Introspect(ctx context.Context, token secret.Text, kind TokenKind) (Introspection, error) {
	if token.IsZero() {
		return Introspection{}, errors.New("introspecting token: there is no token")
	}
	var answer Introspection
	err := c.authenticate(ctx, opIntrospect.purpose(), func(clientID string, clientSecret secret.Text) (err error) {
		answer, err = c.introspect(ctx, clientID, clientSecret, token, kind)
		return err
	})
	return answer, err
}

func (c *Client) introspect(ctx context.Context, clientID string, clientSecret, token secret.Text, kind TokenKind) (Introspection, error) {
	body, err := c.postAboutToken(ctx, opIntrospect, c.Endpoints.IntrospectURL(), clientID, clientSecret, token, kind)
	if err != nil {
		return Introspection{}, err
	}
	// The answer repeats the token: nothing of it goes into an error.
	var fields struct {
		Active    *bool  `json:"active"`
		ClientID  string `json:"client_id"`
		HubID     any    `json:"hub_id"`
		UserID    any    `json:"user_id"`
		Scopes    any    `json:"scopes"`
		ExpiresIn any    `json:"expires_in"`
	}
	if json.Unmarshal(body, &fields) != nil || fields.Active == nil {
		return Introspection{}, brokenAnswer("the answer is cut short, not JSON, or does not say whether the token is active")
	}
	if !*fields.Active {
		return Introspection{}, nil
	}
	answer := Introspection{Active: true, ClientID: fields.ClientID, Scopes: stringList(fields.Scopes)}
	answer.HubID, _ = integer(fields.HubID)
	answer.UserID, _ = integer(fields.UserID)
	if seconds, ok := integer(fields.ExpiresIn); ok {
		answer.ExpiresIn = min(time.Duration(min(seconds, int64(maxExpiresIn/time.Second)))*time.Second, maxExpiresIn)
	}
	return answer, nil
}

// postAboutToken is one request to an endpoint that is told of a token, which
// x/oauth2 does not know (RFC 7009, RFC 7662). The field is named token, as in
// HubSpot's SDKs. It returns the body of a good answer.
func (c *Client) postAboutToken(ctx context.Context, op operation, endpoint, clientID string, clientSecret, token secret.Text, kind TokenKind) ([]byte, error) {
	form := url.Values{
		"client_id":       {clientID},
		"client_secret":   {clientSecret.Reveal()},
		"token":           {token.Reveal()},
		"token_type_hint": {string(kind)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, misconfigured("the token endpoint is not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	call := c.newCall(token, clientSecret)
	resp, err := call.client.Do(req)
	if err != nil {
		return nil, c.tokenError(ctx, op, call, err)
	}
	defer resp.Body.Close()
	// A body cut short matters only for telling errors apart, and an
	// unreadable one is judged by its status.
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 == 2 {
		return body, nil
	}
	return nil, c.tokenError(ctx, op, call, &oauth2.RetrieveError{Response: resp, Body: body})
}
