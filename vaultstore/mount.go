package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// mountInfo is what Vault says about the mount that a path is in.
type mountInfo struct {
	Path    string `json:"path"`
	Type    string `json:"type"`
	Options struct {
		Version string `json:"version"`
	} `json:"options"`
}

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
	info, err := s.mountOf(ctx, s.config.Mount)
	if err != nil {
		return fmt.Errorf("checking mount: %w", err)
	}
	if info.Path != s.config.Mount {
		return unavailable(errors.New("checking mount: there is no mount of this name; it is part of another one"))
	}
	s.mountGood.Store(true)
	return nil
}

// mountOf finds the mount that a path is in, and refuses all but KV v2. The
// endpoint is open to every token that may do anything in the mount.
func (s *Store) mountOf(ctx context.Context, path string) (mountInfo, error) {
	a, err := s.call(ctx, request{method: http.MethodGet, path: "sys/internal/ui/mounts/" + path})
	if errors.Is(err, errDenied) {
		return mountInfo{}, unavailable(errors.New("vault answered 403: there is no such mount, or the login's policy allows nothing in it"))
	}
	if err != nil {
		return mountInfo{}, err
	}
	if err := a.err(); err != nil {
		return mountInfo{}, unavailable(err)
	}
	var body struct {
		Data mountInfo `json:"data"`
	}
	if err := a.decode(&body); err != nil {
		return mountInfo{}, unavailable(err)
	}
	info := body.Data
	info.Path = strings.Trim(info.Path, "/")
	switch {
	case info.Path == "":
		return mountInfo{}, unavailable(errNotVault)
	case info.Type != "kv" && info.Type != "generic":
		return mountInfo{}, unavailable(errors.New("the mount is not a KV secrets engine; want KV version 2"))
	case info.Options.Version != "2":
		return mountInfo{}, unavailable(errors.New("the mount is KV version 1, which has no check-and-set; want KV version 2"))
	}
	return info, nil
}
