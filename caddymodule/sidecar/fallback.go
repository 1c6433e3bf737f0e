package sidecar

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// FallbackCache keeps encrypted copies of the connections in use in a folder
// of this machine. They are read only when the store cannot be, so that a
// sidecar that starts while Vault is down serves the connections it knew.
// What a copy has and the store has not is written when the store is back.
// The list of freezes is copied as well, and does not age.
type FallbackCache struct {
	// The folder, which is made if it is not there, for its owner alone.
	// Each sidecar needs one of its own. Placeholders are expanded when the
	// config is loaded. Required.
	Dir string `json:"dir,omitempty"`

	// The key with which the copies are encrypted: 32 bytes in base64, as a
	// placeholder such as `{file./run/secrets/hubspot_fallback_key}`.
	// Required.
	Key string `json:"key,omitempty"`

	// How old a copy may be. A user who was disconnected, while this
	// sidecar could not read the store, is served for as long at the most.
	// Default: `24h`.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// unmarshalCaddyfile reads the setting:
//
//	fallback_cache <folder> {
//	    key     <placeholder>
//	    max_age <duration>
//	}
func (f *FallbackCache) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&f.Dir) {
		return d.Err("fallback_cache: give one folder, as in: fallback_cache /var/lib/caddy/hubspot-fallback { key … }")
	}
	err := settings.Block(d, "fallback_cache", map[string]settings.Setting{
		"key":     settings.Secret(&f.Key),
		"max_age": settings.Duration(&f.MaxAge),
	})
	if err != nil {
		return err
	}
	if f.Key == "" {
		return d.WrapErr(errNoFallbackKey)
	}
	return nil
}

var errNoFallbackKey = errors.New("fallback_cache: key is missing: give 32 bytes in base64, as a placeholder such as {file./run/secrets/hubspot_fallback_key}")

// fallback are the settings of a fallback cache, expanded. The keys of what
// uses one are made of it.
type fallback struct {
	Dir    string
	Key    secret.Text
	MaxAge time.Duration
}

// expand checks the settings. It touches neither the folder nor a network. It
// returns nil if f is.
func (f *FallbackCache) expand(e *placeholder.Expander) (*fallback, error) {
	switch {
	case f == nil:
		return nil, nil
	case f.Dir == "":
		return nil, errors.New("fallback_cache: dir is missing: name a folder")
	case f.Key == "":
		return nil, errNoFallbackKey
	}
	expanded := &fallback{
		Dir: e.Text("fallback_cache: dir", f.Dir), Key: e.Secret("fallback_cache: key", f.Key), MaxAge: time.Duration(f.MaxAge),
	}
	if err := e.Err(); err != nil {
		return nil, err
	}
	_, err := expanded.open()
	return expanded, err
}

// open makes the cache.
func (f *fallback) open() (*sealedstore.Fallback, error) {
	key, err := sealedstore.ParseKey(f.Key.Reveal())
	if err != nil {
		return nil, fmt.Errorf("fallback_cache: key: %w", err)
	}
	cache, err := sealedstore.NewFallback(f.Dir, key, f.MaxAge)
	if err != nil {
		return nil, fmt.Errorf("fallback_cache: %w", err)
	}
	return cache, nil
}
