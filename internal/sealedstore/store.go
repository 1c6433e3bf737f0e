package sealedstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

const (
	// readTimeout bounds one read of the storage.
	readTimeout = 5 * time.Second
	// saveTimeout bounds a save with its wait for the lock. Where locks do
	// not end with their process, one that was killed keeps it for a while:
	// with CertMagic's lock files 10 s, looked at every second.
	saveTimeout = 15 * time.Second
	// unlockTimeout is for an unlock after the caller's time has run out.
	unlockTimeout = 5 * time.Second
)

// Names in the storage, beside which nothing of ours lies.
const (
	recordsPrefix   = "hubspot/connections"
	documentsPrefix = "hubspot/control"
	keyIDName       = "hubspot/connections_key_id"
	lockPrefix      = "hubspot_connection_"
	documentLock    = "hubspot_control_"
	keyIDLock       = "hubspot_connections_key_id"
)

// Storage is what the store needs of a storage: files by name, and locks that
// hold across all processes that share it. certmagic.Storage is one.
// Implementations are safe for concurrent use, write a file whole or not at
// all, and say [fs.ErrNotExist] of what is not there.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	List(ctx context.Context, path string, recursive bool) ([]string, error)
}

// Store implements [connection.Store] over a [Storage]. Make one with [New];
// it is safe for concurrent use.
type Store struct {
	storage Storage
	sealer  lateSealer
	gates   gates
	// sameKey is set once the storage was seen to belong to our key.
	sameKey atomic.Bool
}

var _ connection.Store = (*Store)(nil)

// New makes a store. It touches neither the storage nor the key: key is called
// when the store is first used, by one goroutine at a time, until it has
// returned one. Before that whatever needs the key fails with an error that
// wraps [connection.ErrUnavailable] and the one of key. [Static] is for a key
// that is known already.
func New(storage Storage, key func() (Key, error)) (*Store, error) {
	if storage == nil {
		return nil, errors.New("making connection store: there is no storage")
	}
	if key == nil {
		return nil, errors.New("making connection store: there is no encryption key")
	}
	return &Store{storage: storage, sealer: lateSealer{key: key}}, nil
}

// ID implements [connection.Store]. It does not touch the storage.
func (s *Store) ID(_ context.Context, key connection.Key) (string, error) {
	sealer, err := s.sealer.get()
	if err != nil {
		return "", err
	}
	return sealer.id(key), nil
}

// Load implements [connection.Store].
func (s *Store) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	v, err := s.load(ctx, key)
	if err != nil {
		return connection.Versioned{}, fmt.Errorf("loading connection: %w", err)
	}
	return v, nil
}

func (s *Store) load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	name, err := s.name(key)
	if err != nil {
		return connection.Versioned{}, err
	}
	if err := s.checkKey(ctx); err != nil {
		return connection.Versioned{}, err
	}
	return s.read(ctx, name)
}

// read loads and opens the record that is stored under name.
func (s *Store) read(ctx context.Context, name string) (connection.Versioned, error) {
	doc, err := s.open(ctx, name)
	if err != nil {
		return connection.Versioned{}, err
	}
	r, err := connection.Decode(doc.Fields)
	if err != nil {
		return connection.Versioned{}, err
	}
	return connection.Versioned{Record: r, Version: doc.Version}, nil
}

// open loads and opens what is stored under name.
func (s *Store) open(ctx context.Context, name string) (document, error) {
	box, err := s.loadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, connection.ErrNotFound
	}
	if err != nil {
		return document{}, err
	}
	sealer, err := s.sealer.get()
	if err != nil {
		return document{}, err
	}
	return sealer.open(name, box)
}

// loadFile returns an error that wraps fs.ErrNotExist or ErrUnavailable.
func (s *Store) loadFile(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// Not every storage looks at its context.
	if err := ctx.Err(); err != nil {
		return nil, unavailable(err)
	}
	value, err := s.storage.Load(ctx, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unavailable(err)
	}
	return value, err
}

// Save implements [connection.Store]. A save over a record that cannot be
// read is a conflict whose error also wraps [connection.ErrCorrupt]: nothing
// is ever written over a record that another key may open.
func (s *Store) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := s.save(ctx, r, based); err != nil {
		return 0, fmt.Errorf("saving connection: %w", err)
	}
	return based + 1, nil
}

func (s *Store) save(ctx context.Context, r connection.Record, based uint64) error {
	name, err := s.name(r.Key)
	if err != nil {
		return err
	}
	sealer, err := s.sealer.get()
	if err != nil {
		return err
	}
	box, err := sealer.seal(name, r.Encode(), based+1)
	if err != nil {
		return fmt.Errorf("sealing record: %w", err)
	}
	return s.replace(ctx, lockPrefix+path.Base(name), name, box, func() error {
		stored, err := s.load(ctx, r.Key)
		return basedOn(based, stored.Version, err)
	})
}

// replace writes a file under a lock. check says whether it still may.
func (s *Store) replace(ctx context.Context, lock, name string, box []byte, check func() error) error {
	leave, err := s.gates.enter(ctx, lock)
	if err != nil {
		return unavailable(err)
	}
	defer leave()
	if err := s.claimKey(ctx); err != nil {
		return err
	}
	// Whoever has lost already learns it without waiting for the lock.
	if err := check(); err != nil {
		return err
	}
	return s.locked(ctx, lock, func() error {
		if err := check(); err != nil {
			return err
		}
		return s.storeFile(ctx, name, box)
	})
}

// basedOn returns an error unless the stored version, which was loaded with
// err, is based.
func basedOn(based, stored uint64, err error) error {
	switch {
	case errors.Is(err, connection.ErrNotFound):
		stored = 0
	case errors.Is(err, connection.ErrCorrupt):
		return fmt.Errorf("%w: %w", connection.ErrConflict, err)
	case err != nil:
		return err
	}
	if stored != based {
		return connection.ErrConflict
	}
	return nil
}

func (s *Store) storeFile(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	if err := s.storage.Store(ctx, name, value); err != nil {
		return unavailable(err)
	}
	return nil
}

// locked runs critical under the storage's lock. The lock is given back even
// if ctx has ended meanwhile. An error of that is not reported: critical has
// done what it did, and such a lock goes stale or makes the next save fail.
func (s *Store) locked(ctx context.Context, lock string, critical func() error) error {
	if err := s.storage.Lock(ctx, lock); err != nil {
		return unavailable(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		_ = s.storage.Unlock(ctx, lock)
	}()
	return critical()
}

// Erase implements [connection.Store]. A save replaces the file, so there is
// no older version to destroy: it does nothing. What the storage's own medium
// or its backups keep of replaced files is out of its reach, but sealed.
func (s *Store) Erase(ctx context.Context, _ connection.Key, _ uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("erasing old versions: %w", unavailable(err))
	}
	return nil
}

// appPattern is what may stand in a path on every storage and file system.
var appPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// name returns where the record of key lies.
func (s *Store) name(key connection.Key) (string, error) {
	dir, err := appDir(key.App)
	if err != nil {
		return "", err
	}
	sealer, err := s.sealer.get()
	if err != nil {
		return "", err
	}
	id := sealer.id(key)
	return path.Join(dir, id[:shardChars], id), nil
}

func appDir(app string) (string, error) {
	if !appPattern.MatchString(app) {
		return "", fmt.Errorf("%w: app name %q must be lower-case letters, digits, dots, dashes and underscores, at most 64",
			connection.ErrUnavailable, app)
	}
	return path.Join(recordsPrefix, app), nil
}

// unavailable keeps the cause: it names files and hosts, never a user.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", connection.ErrUnavailable, err)
}
