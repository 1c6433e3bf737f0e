package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// checkMount makes sure, once, that the mount is KV v2. A wrong mount answers
// every read with "not found", and a KV v1 mount takes writes and ignores
// check-and-set, so nothing else may be asked before.
func (s *Store) checkMount(ctx context.Context) error {
	if s.mountGood.Load() {
		return nil
	}
	_, err := s.shared(ctx, "mount", func(ctx context.Context) (any, error) {
		return nil, s.verifyMount(ctx)
	})
	return err
}

// verifyMount asks Vault about the mount.
func (s *Store) verifyMount(ctx context.Context) error {
	mount, err := s.mountOf(ctx, s.config.Mount)
	if err == nil && mount != s.config.Mount {
		err = unavailable(mountError("there is no mount of this name; it is part of another one"))
	}
	if wrong, ok := errors.AsType[mountError](err); ok && wrong != errNoAccess {
		s.complaint.say(err)
	}
	if err != nil {
		return fmt.Errorf("checking mount: %w", err)
	}
	s.mountGood.Store(true)
	return nil
}

// mountError is a mount that is of no use.
type mountError string

func (e mountError) Error() string { return string(e) }

// errNoAccess is what Vault's 403 to the question for a mount means.
const errNoAccess = mountError("vault answered 403: there is no such mount, or the login's policy allows nothing in it")

// explained returns ErrDenied instead of errNoAccess if it is the policy that
// is wrong, not the mount.
func (s *Store) explained(ctx context.Context, err error, rules []rule) error {
	if !errors.Is(err, errNoAccess) {
		return err
	}
	if denied := s.permits(ctx, rules); errors.Is(denied, connection.ErrDenied) {
		err = denied
	}
	s.complaint.say(err)
	return err
}

// mountOf returns the path of the mount that a path is in, and refuses all
// but KV v2. The endpoint is open to every token that may do anything in the
// mount.
func (s *Store) mountOf(ctx context.Context, path string) (string, error) {
	got, err := call(ctx, s, rule{}, func(v *api.Client) (*api.Secret, error) {
		return v.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+path)
	})
	if errors.Is(err, errDenied) {
		return "", unavailable(errNoAccess)
	}
	if err != nil {
		return "", err
	}
	mount, kind := strings.Trim(textOf(got, "path"), "/"), textOf(got, "type")
	switch {
	case mount == "":
		return "", unavailable(errNotVault)
	case kind != "kv" && kind != "generic":
		return "", unavailable(mountError("the mount is not a KV secrets engine; want KV version 2"))
	}
	if options, _ := got.Data["options"].(map[string]any); options["version"] != "2" {
		return "", unavailable(mountError("the mount is KV version 1, which has no check-and-set; want KV version 2"))
	}
	return mount, nil
}
