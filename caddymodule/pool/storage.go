package pool

import (
	"context"
	"errors"
	"sync"

	"github.com/caddyserver/certmagic"
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
	// locks remembers by name which storage a lock was taken from: it has
	// to go back there, whatever config came in between.
	locks sync.Map
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
	storage := s.storage()
	if err := storage.Lock(ctx, name); err != nil {
		return err
	}
	s.locks.Store(name, storage)
	return nil
}

func (s *newestStorage) Unlock(ctx context.Context, name string) error {
	storage, ok := s.locks.LoadAndDelete(name)
	if !ok {
		return errors.New("unlocking storage: the lock is not held")
	}
	return storage.(certmagic.Storage).Unlock(ctx, name)
}

// Interface guard
var _ certmagic.Storage = (*newestStorage)(nil)
