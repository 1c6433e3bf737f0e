package caddymodule

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
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
func (a *Auth) issueToken(r *http.Request, in *admission) (any, *apierror.Error) {
	if r.URL.RawQuery != "" {
		return nil, badRequest(errors.New("the fields go into the body of the request, not into its query"))
	}
	asked, err := readTokenRequest(r)
	if err != nil {
		return nil, tokenRequestError(err)
	}
	in.user = asked.user
	if err := in.checkUser(r.Context(), asked.user); err != nil {
		return nil, err
	}
	if err := in.checkFrozen(r.Context(), freeze.Call{User: asked.user}); err != nil {
		return nil, err
	}
	sealer, err := in.app.tokenSealer(r.Context())
	if err != nil {
		return nil, storeError(in.app, err)
	}
	now := a.app.now()
	token := usertoken.Token{
		ID: rand.Text(), Caller: in.caller.Name(), User: asked.user, Allow: asked.allow, Deny: asked.deny,
		IssuedAt: now, ExpiresAt: now.Add(asked.lifetime),
	}
	sealed, err := sealer.Seal(token)
	if err != nil {
		return nil, apierror.Wrap(apierror.BadRequest,
			fmt.Sprintf("The user and the rules are too long: a token has at most %d characters. Give fewer rules.", usertoken.MaxLength), err)
	}
	in.tokenID = token.ID
	scope := token.Scope()
	a.audit(r.Context(), "user token issued", *in, asked.user, zap.String("token_id", token.ID),
		zap.Time("expires_at", token.ExpiresAt), zap.Bool("narrowed", scope.Narrowed()))
	return issuedToken{
		token: sealed, user: asked.user, app: in.app.name, expiresAt: token.ExpiresAt, lifetime: asked.lifetime,
	}, nil
}
