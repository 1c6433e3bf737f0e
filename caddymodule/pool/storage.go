package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filelock"
)

// Storage returns the storage of the newest config. It is safe for concurrent use.
func Storage(storages *Newest[certmagic.Storage]) certmagic.Storage {
	return &newestStorage{newest: storages}
}

// newestStorage is the storage of the newest config. Two configs share it
// only if their storages are the same, which a store's settings tell, so that what
// was written through one is found through the other.
type newestStorage struct {
	newest *Newest[certmagic.Storage]
	// locks remembers by name how a lock is given back: to the storage that it
	// was taken from, whatever config came in between.
	locks sync.Map // of string to func(context.Context) error
}

func (s *newestStorage) storage() certmagic.Storage {
	storage, _ := s.newest.Get()
	return storage
}

func (s *newestStorage) Store(ctx context.Context, key string, value []byte) error {
	return s.storage().Store(ctx, key, value)
}

func (s *newestStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return s.storage().Load(ctx, key)
}

func (s *newestStorage) Delete(ctx context.Context, key string) error {
	return s.storage().Delete(ctx, key)
}

func (s *newestStorage) Exists(ctx context.Context, key string) bool {
	return s.storage().Exists(ctx, key)
}

func (s *newestStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	return s.storage().List(ctx, path, recursive)
}

func (s *newestStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	return s.storage().Stat(ctx, key)
}

func (s *newestStorage) Lock(ctx context.Context, name string) error {
	unlock, err := lock(ctx, s.storage(), name)
	if err != nil {
		return err
	}
	s.locks.Store(name, unlock)
	return nil
}

// lock takes the lock of a storage. Those of Caddy's files are files of our own,
// which end with the process that has them: CertMagic renews a lock for a while
// after it was given back, and so keeps that of another process that was killed.
func lock(ctx context.Context, storage certmagic.Storage, name string) (unlock func(context.Context) error, err error) {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok || !filelock.Ends {
		return func(ctx context.Context) error { return storage.Unlock(ctx, name) }, storage.Lock(ctx, name)
	}
	folder := filepath.Join(files.Path, "locks", "hubspot")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	release, err := filelock.Hold(ctx, filepath.Join(folder, certmagic.StorageKeys.Safe(name)+".lock"))
	return func(context.Context) error { release(); return nil }, err
}

func (s *newestStorage) Unlock(ctx context.Context, name string) error {
	unlock, ok := s.locks.LoadAndDelete(name)
	if !ok {
		return errors.New("unlocking storage: the lock is not held")
	}
	return unlock.(func(context.Context) error)(ctx)
}

// Interface guard
var _ certmagic.Storage = (*newestStorage)(nil)
