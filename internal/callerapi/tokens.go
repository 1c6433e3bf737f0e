package callerapi

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// issuedToken is the answer of the token endpoint.
type issuedToken struct {
	token     secret.Text
	user, app string
	expiresAt time.Time
	lifetime  time.Duration
}

// MarshalJSON shows the token: the answer to whoever asked for it is the one
// place where it is shown.
func (t issuedToken) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Token     string    `json:"token"`
		Type      string    `json:"tokenType"`
		ExpiresAt time.Time `json:"expiresAt"`
		ExpiresIn int       `json:"expiresIn"`
		User      string    `json:"userForeignIdentifier"`
		App       string    `json:"app"`
	}{
		// Whole seconds, rounded down: never later than it ends.
		t.token.Reveal(), "bearer", t.expiresAt.UTC().Truncate(time.Second), int(t.lifetime / time.Second), t.user, t.app,
	})
}

// issueToken makes a user token.
func (q *request) issueToken() (any, error) {
	if q.r.URL.RawQuery != "" {
		return nil, apierror.Badf("the fields go into the body of the request, not into its query")
	}
	asked, err := readTokenRequest(q.r)
	if err != nil {
		return nil, tokenRequestError(err)
	}
	q.user = asked.user
	if err := q.checkUser(); err != nil {
		return nil, err
	}
	if err := q.checkFrozen(freeze.Call{User: q.user}); err != nil {
		return nil, err
	}
	ctx := q.r.Context()
	sealer, err := q.app.TokenSealer(ctx)
	if errors.Is(err, hubspot.ErrNoCredentials) {
		return nil, apierror.Wrap(apierror.BadRequest,
			"A static app has no user tokens, which are sealed with an app's client secret. Call with the key of a caller.", err)
	}
	if err != nil {
		return nil, q.app.StoreError(err)
	}
	now := q.config.Desk.Now()
	token := usertoken.Token{
		ID: rand.Text(), Caller: q.caller.Name(), User: q.user, Allow: asked.allow, Deny: asked.deny,
		IssuedAt: now, ExpiresAt: now.Add(asked.lifetime),
	}
	sealed, err := sealer.Seal(token)
	if err != nil {
		return nil, apierror.Wrap(apierror.BadRequest,
			fmt.Sprintf("The user and the rules are too long: a token has at most %d characters. Give fewer rules.", usertoken.MaxLength), err)
	}
	q.tokenID = token.ID
	scope := token.Scope()
	q.note(ctx, "user token issued", slog.String("token_id", token.ID),
		slog.Time("expires_at", token.ExpiresAt), slog.Bool("narrowed", scope.Narrowed()))
	return issuedToken{token: sealed, user: q.user, app: q.app.Name, expiresAt: token.ExpiresAt, lifetime: asked.lifetime}, nil
}
