package vaultstore

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Health reports why the store cannot do its work now, or nil: Vault down or
// sealed, the login refused, the mount wrong. It asks Vault, and waits no
// longer than Config.Timeout. It may be called at any time; its errors wrap
// [connection.ErrUnavailable].
func (s *Store) Health(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.client.breaker.allow(); err != nil {
		return err
	}
	if err := s.client.health(ctx); err != nil {
		return unavailable(err)
	}
	// It goes through the login, and so finds out about a dead one.
	return s.verifyMount(ctx)
}

// health asks sys/health, outside the breaker. The statuses are those of
// https://developer.hashicorp.com/vault/api-docs/system/health; a standby
// forwards, so it will do.
func (c *client) health(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()
	_, err := c.as(secret.Text{}).WithNamespace("").Logical().ReadWithContext(ctx, "sys/health")
	err = plain(ctx, err)
	switch statusOf(err) {
	case 472:
		return errors.New("vault is a disaster recovery secondary")
	case 474:
		return errors.New("vault is a standby without an active node")
	case http.StatusNotImplemented:
		return errors.New("vault is not initialised")
	case http.StatusServiceUnavailable:
		return errors.New("vault is sealed")
	case 530:
		return errors.New("vault's node was removed from its cluster")
	}
	if isOutage(err) {
		return err
	}
	// Anything else comes from an active node, a standby, or a proxy that
	// keeps sys/health to itself: the next request will tell.
	return nil
}
