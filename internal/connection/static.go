package connection

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// ErrStatic means that a connection has a static token, which nothing but an
// import replaces.
var ErrStatic = errors.New("the token of a static app is not refreshed; import another")

// ReasonTokenRefused is the reason of a connection whose static token HubSpot
// does not take any more.
const ReasonTokenRefused = "token_refused"

// TokenChecker is what a [Provider] is beside that can ask HubSpot whether a
// static token works.
type TokenChecker interface {
	// Check returns the portal of a token, or 0 if HubSpot takes the token
	// and does not say. The error for a token that HubSpot does not take wraps
	// [hubspot.ErrTokenRefused]; any other says nothing about it.
	Check(ctx context.Context, token secret.Text) (hubID int64, err error)
}

// never is later than anything.
var never = time.Unix(1<<40, 0)

// checkTimeout bounds one question about a static token.
const checkTimeout = 10 * time.Second

func (v *view) isStatic() bool { return v != nil && v.Static }

// checkStatic is the step of a flight for a static token. One that HubSpot has
// refused is asked about before its connection ends: some endpoints take no
// static token and answer 401 to a good one.
func (m *Manager) checkStatic(e *entry, v *view, stored Versioned) error {
	if !e.isToGo(v) {
		return nil
	}
	checker, ok := m.config.Provider.(TokenChecker)
	if !ok {
		return ErrStatic
	}
	err := m.InTurn(m.ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		_, err := checker.Check(ctx, v.AccessToken)
		return err
	})
	if errors.Is(err, hubspot.ErrTokenRefused) {
		return m.requireReauth(e, v, stored, ReasonTokenRefused, err)
	}
	e.clear(v)
	return ErrTokenUnavailable
}

// clear forgets that the access token of v was refused.
func (e *entry) clear(v *view) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused == v.AccessToken.Mark() {
		e.refused = secret.Mark{}
	}
}
