package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
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
	// needed where several machines share the storage. Default: the key in
	// `key_file`.
	EncryptionKey string `json:"encryption_key,omitempty"`

	// The file that holds the key if `encryption_key` is not given. If
	// there is no such file, a key is made and kept there, readable by its
	// owner only, when the store is first used. Without the key the
	// connections are lost. Placeholders are expanded when the config is
	// loaded. Default: `hubspot/store.key` in Caddy's data directory.
	KeyFile string `json:"key_file,omitempty"`

	key      secret.Text
	keyFile  string
	identity []string
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
	err := parseBlock(d, "store caddy", map[string]setting{
		"encryption_key": secretSetting(&s.EncryptionKey),
		"key_file":       textSetting(&s.KeyFile),
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
	s.identity = storageIdentity(ctx.Storage())
	if s.EncryptionKey != "" && s.KeyFile != "" {
		return errors.New("give encryption_key or key_file, not both")
	}
	repl := caddy.NewReplacer()
	if s.EncryptionKey != "" {
		var err error
		if s.key, err = expandSecret(repl, s.EncryptionKey); err != nil {
			return fmt.Errorf("encryption_key: %w", err)
		}
		if _, err = sealedstore.ParseKey(s.key.Reveal()); err != nil {
			return fmt.Errorf("encryption_key: %w", err)
		}
		return nil
	}
	return s.findKeyFile(repl)
}

// findKeyFile checks a key file that is there. One that is not is made later:
// checking a config must not leave a file behind, of the wrong owner perhaps.
func (s *CaddyStore) findKeyFile(repl *caddy.Replacer) error {
	s.keyFile = filepath.Join(caddy.AppDataDir(), "hubspot", "store.key")
	if s.KeyFile != "" {
		var err error
		if s.keyFile, err = repl.ReplaceOrErr(s.KeyFile, true, true); err != nil {
			return fmt.Errorf("key_file: %w", err)
		}
	}
	if _, err := os.Stat(s.keyFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := sealedstore.LoadOrCreateKey(s.keyFile); err != nil {
		return fmt.Errorf("key_file: %w", err)
	}
	return nil
}

// StoreSettings implements [StoreModule].
func (s *CaddyStore) StoreSettings() []string {
	return append([]string{s.key.Reveal(), s.keyFile}, s.identity...)
}

// OpenStore implements [StoreModule].
func (s *CaddyStore) OpenStore(host StoreHost) (Store, error) {
	given, file := s.key, s.keyFile
	return &sealedLater{open: func() (*sealedstore.Store, error) {
		key, err := sealedstore.ParseKey(given.Reveal())
		if file != "" {
			key, err = sealedstore.LoadOrCreateKey(file)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: reading the store's key: %w", connection.ErrUnavailable, err)
		}
		return sealedstore.New(host.Storage, key)
	}}, nil
}

// sealedLater is a sealed store whose key is read, or made, when the store is
// first used. Until that works it is unavailable.
type sealedLater struct {
	open func() (*sealedstore.Store, error)

	mu    sync.Mutex
	store *sealedstore.Store
}

func (s *sealedLater) opened() (*sealedstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	s.store = store
	return store, nil
}

func (s *sealedLater) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	store, err := s.opened()
	if err != nil {
		return connection.Versioned{}, err
	}
	return store.Load(ctx, key)
}

func (s *sealedLater) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	store, err := s.opened()
	if err != nil {
		return 0, err
	}
	return store.Save(ctx, r, based)
}

func (s *sealedLater) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	store, err := s.opened()
	if err != nil {
		return err
	}
	return store.Erase(ctx, key, keep)
}

func (s *sealedLater) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	store, err := s.opened()
	if err != nil {
		return connection.Page{}, err
	}
	return store.List(ctx, app, cursor, limit)
}

func (s *sealedLater) ID(ctx context.Context, key connection.Key) (string, error) {
	store, err := s.opened()
	if err != nil {
		return "", err
	}
	return store.ID(ctx, key)
}

func (s *sealedLater) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	store, err := s.opened()
	if err != nil {
		return "", 0, err
	}
	return store.LoadDocument(ctx, name)
}

func (s *sealedLater) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	store, err := s.opened()
	if err != nil {
		return 0, err
	}
	return store.SaveDocument(ctx, name, text, based)
}

// Interface guards
var (
	_ StoreModule           = (*CaddyStore)(nil)
	_ caddy.Provisioner     = (*CaddyStore)(nil)
	_ caddyfile.Unmarshaler = (*CaddyStore)(nil)
	_ connection.Store      = (*sealedLater)(nil)
	_ DocumentStore         = (*sealedLater)(nil)
)
