package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	a, err := c.exchange(ctx, request{method: http.MethodGet, path: "sys/health", root: true})
	if err != nil {
		return err
	}
	switch a.status {
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
	if a.status >= http.StatusInternalServerError {
		return fmt.Errorf("vault's health is %d", a.status)
	}
	// Anything else comes from an active node, a standby, or a proxy that
	// keeps sys/health to itself: the next request will tell.
	return nil
}
