package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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

	dir string
	key secret.Text
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
	err := parseBlock(d, "fallback_cache", map[string]setting{
		"key":     secretSetting(&f.Key),
		"max_age": durationSetting(&f.MaxAge),
	})
	if err != nil {
		return err
	}
	if f.Key == "" {
		return d.Err("fallback_cache: key is missing: give 32 bytes in base64, as a placeholder such as {file./run/secrets/hubspot_fallback_key}")
	}
	return nil
}

// provision checks the settings. It touches neither the folder nor a network.
func (f *FallbackCache) provision(repl *caddy.Replacer) error {
	if f.Dir == "" {
		return errors.New("fallback_cache: dir is missing: name a folder")
	}
	if f.Key == "" {
		return errors.New("fallback_cache: key is missing: give 32 bytes in base64, as a placeholder such as {file./run/secrets/hubspot_fallback_key}")
	}
	var err error
	if f.dir, err = repl.ReplaceOrErr(f.Dir, true, true); err != nil {
		return fmt.Errorf("fallback_cache: dir: %w", err)
	}
	if f.key, err = expandSecret(repl, f.Key); err != nil {
		return fmt.Errorf("fallback_cache: key: %w", err)
	}
	_, err = f.open()
	return err
}

// open makes the cache.
func (f *FallbackCache) open() (*sealedstore.Fallback, error) {
	key, err := sealedstore.ParseKey(f.key.Reveal())
	if err != nil {
		return nil, fmt.Errorf("fallback_cache: key: %w", err)
	}
	cache, err := sealedstore.NewFallback(f.dir, key, time.Duration(f.MaxAge))
	if err != nil {
		return nil, fmt.Errorf("fallback_cache: %w", err)
	}
	return cache, nil
}

// identity is what makes one cache differ from another.
func (f *FallbackCache) identity() []string {
	if f == nil {
		return nil
	}
	return []string{f.dir, f.key.Reveal(), time.Duration(f.MaxAge).String()}
}
