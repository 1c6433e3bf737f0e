package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Needs is what a store is used for, as far as its login needs rights for it:
// see examples/vault/sidecar.hcl. Nil lists mean what the store was asked for so
// far.
type Needs = connection.Needs

// Need implements [connection.RightsChecker]. The last word counts; before the
// first, it is the zero Needs. It may be called at any time.
func (s *Store) Need(n Needs) { s.needs.Store(&n) }

// Health reports why the store cannot do its work now, or nil: Vault down or
// sealed, the login refused, the mount wrong; these errors wrap
// [connection.ErrUnavailable]. A login that lacks rights for what the store
// is used for ([Store.Need]) is an error that names them and wraps
// [connection.ErrDenied]. It asks Vault, for the rights at most every few
// seconds, and waits no longer than Config.Timeout. It may be called at any
// time.
func (s *Store) Health(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.client.breaker.allow(); err != nil {
		return err
	}
	if err := s.client.health(ctx); err != nil {
		return unavailable(err)
	}
	rules := s.rules()
	// It goes through the login, and so finds out about a dead one.
	if err := s.verifyMount(ctx); err != nil {
		return s.explained(ctx, err, rules)
	}
	credentials, err := s.credentialsRules(ctx)
	if err != nil {
		return err
	}
	err = s.complaint.about(s.permits(ctx, append(rules, credentials...)))
	if err == nil {
		s.complaint.allWell()
	}
	return err
}

// CanSave reports why a connection of key could not be stored now, or nil. It
// is for whoever is about to do something for it that cannot be done again,
// and costs next to nothing: what the login may do is asked for at most twice
// a minute. Errors wrap [connection.ErrDenied] or [connection.ErrUnavailable].
func (s *Store) CanSave(ctx context.Context, key connection.Key) (err error) {
	defer saying("checking that connection can be saved", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.client.breaker.allow(); err != nil {
		return err
	}
	if _, err := s.id(ctx, key); err != nil {
		return err
	}
	return s.complaint.about(s.permits(ctx, s.saveRules(key.App)))
}

// rules are those that the store's use needs, without the credentials'.
func (s *Store) rules() []rule {
	var n Needs
	if known := s.needs.Load(); known != nil {
		n = *known
	}
	if n.Apps == nil {
		s.idKeys.Range(func(app, _ any) bool {
			n.Apps = append(n.Apps, app.(string))
			return true
		})
	}
	var rules []rule
	for _, app := range n.Apps {
		if appName.MatchString(app) {
			rules = append(rules, s.appRules(app)...)
		}
	}
	if n.Documents {
		rules = append(rules, s.paths.documentRule())
	}
	return rules
}

// credentialsRules are those of the credentials' paths. Vault is asked once
// how much of a path is the mount.
func (s *Store) credentialsRules(ctx context.Context) ([]rule, error) {
	var paths []string
	if known := s.needs.Load(); known != nil {
		paths = known.Credentials
	}
	if paths == nil {
		s.credentialMounts.Range(func(path, _ any) bool {
			paths = append(paths, path.(string))
			return true
		})
	}
	var rules []rule
	for _, path := range paths {
		mount, ok := s.credentialMounts.Load(path)
		if !ok && CheckCredentialsPath(path) == nil {
			found, err := s.mountOf(ctx, path)
			if err != nil {
				return nil, fmt.Errorf("checking mount of credentials: %w", err)
			}
			mount = found
			s.credentialMounts.Store(path, found)
		}
		if name, ok := mount.(string); ok {
			rules = append(rules, credentialsRule(name, strings.TrimPrefix(path, name+"/")))
		}
	}
	return rules, nil
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
