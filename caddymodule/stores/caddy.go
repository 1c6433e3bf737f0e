package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/storeapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func init() {
	caddy.RegisterModule(CaddyStore{})
}

// CaddyStore keeps connections in Caddy's storage: files below Caddy's data
// directory, or whatever the global option `storage` says. Each connection
// is encrypted and authenticated. It is the store that is used if none is
// named.
type CaddyStore struct {
	// The key with which connections are encrypted: 32 bytes in base64, as
	// a placeholder such as `{file./run/secrets/hubspot_store_key}`. It is
	// needed where several machines share the storage. Another key than that of
	// the connections which are there is refused, also while the process runs.
	// Default: the key in `key_file`.
	EncryptionKey string `json:"encryption_key,omitempty"`

	// The file that holds the key if `encryption_key` is not given. If
	// there is no such file, a key is made and kept there, readable by its
	// owner only, when the store is first used. Without the key the
	// connections are lost. Placeholders are expanded when the config is
	// loaded. Default: `hubspot/store.key` in Caddy's data directory.
	KeyFile string `json:"key_file,omitempty"`

	config caddyStoreConfig
}

// caddyStoreConfig is everything that shapes the store.
type caddyStoreConfig struct {
	// Key is given, or else KeyFile is.
	Key     secret.Text
	KeyFile string
	// Storage tells Caddy's storage from others.
	Storage []string
}

// CaddyModule returns the Caddy module information.
func (CaddyStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "hubspot.stores.caddy",
		New: func() caddy.Module { return new(CaddyStore) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store caddy {
//	    encryption_key <placeholder>
//	    key_file       <file>
//	}
func (s *CaddyStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume store name
	if d.NextArg() {
		return d.Err("store caddy: takes no value, but may have a block of settings")
	}
	err := settings.Block(d, "store caddy", map[string]settings.Setting{
		"encryption_key": settings.Secret(&s.EncryptionKey),
		"key_file":       settings.Text(&s.KeyFile),
	})
	if err != nil {
		return err
	}
	if s.EncryptionKey != "" && s.KeyFile != "" {
		return d.Err("store caddy: give encryption_key or key_file, not both")
	}
	return nil
}

// Provision reads the key, if there is one already.
func (s *CaddyStore) Provision(ctx caddy.Context) error {
	s.config.Storage = storageIdentity(ctx.Storage())
	if s.EncryptionKey != "" && s.KeyFile != "" {
		return errors.New("give encryption_key or key_file, not both")
	}
	if s.EncryptionKey == "" {
		return s.findKeyFile()
	}
	e := settings.NewExpander()
	s.config.Key = e.Secret("encryption_key", s.EncryptionKey)
	if err := e.Err(); err != nil {
		return err
	}
	if _, err := sealedstore.ParseKey(s.config.Key.Reveal()); err != nil {
		return fmt.Errorf("encryption_key: %w", err)
	}
	return nil
}

// findKeyFile checks a key file that is there. One that is not is made later:
// checking a config must not leave a file behind, of the wrong owner perhaps.
func (s *CaddyStore) findKeyFile() error {
	file := filepath.Join(caddy.AppDataDir(), "hubspot", "store.key")
	if s.KeyFile != "" {
		var err error
		if file, err = settings.Expand(s.KeyFile); err != nil {
			return fmt.Errorf("key_file: %w", err)
		}
	}
	s.config.KeyFile = file
	if isMissing(file) {
		return nil
	}
	if _, err := sealedstore.LoadOrCreateKey(file); err != nil {
		return fmt.Errorf("key_file: %w", err)
	}
	return nil
}

func isMissing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}

// storageIdentity returns what tells a storage from others: its type and
// settings. Two storages with the same settings hold the same data.
func storageIdentity(storage certmagic.Storage) []string {
	identity := []string{fmt.Sprintf("%T", storage)}
	if s, ok := storage.(fmt.Stringer); ok {
		identity = append(identity, s.String())
	}
	if settings, err := json.Marshal(storage); err == nil {
		identity = append(identity, string(settings))
	}
	return identity
}

// StoreSettings implements [storeapi.Module].
func (s *CaddyStore) StoreSettings() any { return s.config }

// OpenStore implements [storeapi.Module].
func (s *CaddyStore) OpenStore(host storeapi.Host) (storeapi.Store, error) {
	given, file, chosen := s.config.Key, s.config.KeyFile, s.KeyFile != ""
	return sealedstore.New(host.Storage, func() (sealedstore.Key, error) {
		if file == "" {
			return sealedstore.ParseKey(given.Reveal())
		}
		return keyOfFile(file, chosen, host.Logger)
	})
}

// Files implements [storeapi.Follower]: a key file that is made later was made
// for this store.
func (s *CaddyStore) Files() []string {
	if s.config.KeyFile == "" || isMissing(s.config.KeyFile) {
		return nil
	}
	return []string{s.config.KeyFile}
}

// CheckStored implements [storeapi.Follower].
func (s *CaddyStore) CheckStored(ctx context.Context, storage certmagic.Storage) error {
	file := s.config.KeyFile
	if file != "" && isMissing(file) {
		return fmt.Errorf("key_file: %s is gone; put it back, or the connections are lost with the end of this process", file)
	}
	store, err := sealedstore.New(storage, func() (sealedstore.Key, error) {
		if file == "" {
			return sealedstore.ParseKey(s.config.Key.Reveal())
		}
		return sealedstore.LoadOrCreateKey(file)
	})
	if err != nil {
		return err
	}
	return store.CheckKey(ctx)
}

// keyOfFile reads the key, or makes one. Nobody may know of a file that nobody
// has chosen, so that one is told of.
func keyOfFile(file string, chosen bool, logger *slog.Logger) (sealedstore.Key, error) {
	missing := isMissing(file)
	key, err := sealedstore.LoadOrCreateKey(file)
	if err == nil && missing && !chosen {
		logger.Warn("made a new key for the connection store: without this file all connections are lost, as they are in a container whose data directory is not on a volume; keep it, or set encryption_key or key_file",
			"file", file)
	}
	return key, err
}

// Interface guards
var (
	_ storeapi.Follower     = (*CaddyStore)(nil)
	_ caddy.Provisioner     = (*CaddyStore)(nil)
	_ caddyfile.Unmarshaler = (*CaddyStore)(nil)
)
