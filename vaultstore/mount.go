package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/api"
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
	if err != nil {
		return fmt.Errorf("checking mount: %w", err)
	}
	if mount != s.config.Mount {
		return unavailable(errors.New("checking mount: there is no mount of this name; it is part of another one"))
	}
	s.mountGood.Store(true)
	return nil
}

// mountOf returns the path of the mount that a path is in, and refuses all
// but KV v2. The endpoint is open to every token that may do anything in the
// mount.
func (s *Store) mountOf(ctx context.Context, path string) (string, error) {
	got, err := call(ctx, s, func(v *api.Client) (*api.Secret, error) {
		return v.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+path)
	})
	if errors.Is(err, errDenied) {
		return "", unavailable(errors.New("vault answered 403: there is no such mount, or the login's policy allows nothing in it"))
	}
	if err != nil {
		return "", err
	}
	mount, kind := strings.Trim(textOf(got, "path"), "/"), textOf(got, "type")
	switch {
	case mount == "":
		return "", unavailable(errNotVault)
	case kind != "kv" && kind != "generic":
		return "", unavailable(errors.New("the mount is not a KV secrets engine; want KV version 2"))
	}
	if options, _ := got.Data["options"].(map[string]any); options["version"] != "2" {
		return "", unavailable(errors.New("the mount is KV version 1, which has no check-and-set; want KV version 2"))
	}
	return mount, nil
}
