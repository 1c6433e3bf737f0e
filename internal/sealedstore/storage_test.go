package sealedstore_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection/storetest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealedstore"
)

// memory is a storage in memory. It does not look at contexts, as the one of
// files does not, except when it waits for a lock.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
	locks map[string]chan struct{}

	// before, if set, is called ahead of each operation and may refuse it.
	before func(operation, name string) error
}

func newMemory() *memory {
	return &memory{files: make(map[string][]byte), locks: make(map[string]chan struct{})}
}

func (m *memory) refuse(operation, name string) error {
	if m.before == nil {
		return nil
	}
	return m.before(operation, name)
}

func (m *memory) lock(name string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] == nil {
		m.locks[name] = make(chan struct{}, 1)
	}
	return m.locks[name]
}

func (m *memory) Lock(ctx context.Context, name string) error {
	if err := m.refuse("lock", name); err != nil {
		return err
	}
	select {
	case m.lock(name) <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Unlock(ctx context.Context, name string) error {
	if err := errors.Join(m.refuse("unlock", name), ctx.Err()); err != nil {
		return err
	}
	<-m.lock(name)
	return nil
}

func (m *memory) Store(_ context.Context, name string, value []byte) error {
	if err := m.refuse("store", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = slices.Clone(value)
	return nil
}

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	if err := m.refuse("load", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(value), nil
}

// List gives every name that begins with dir, as storages over flat
// key-value databases do.
func (m *memory) List(_ context.Context, dir string, _ bool) ([]string, error) {
	if err := m.refuse("list", dir); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if strings.HasPrefix(name, dir) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files))
}

// records are the names of the stored records.
func (m *memory) records() []string {
	return slices.DeleteFunc(m.names(), func(name string) bool { return !strings.HasPrefix(name, "hubspot/connections/") })
}

// files is a storage of files below a directory.
type files struct{ root string }

func (f files) path(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

func (f files) Lock(ctx context.Context, name string) error {
	dir := f.path("locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for {
		file, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return file.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (f files) Unlock(_ context.Context, name string) error {
	return os.Remove(filepath.Join(f.path("locks"), name+".lock"))
}

func (f files) Store(_ context.Context, name string, value []byte) error {
	target := f.path(name)
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(target), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(value)
	return errors.Join(err, temp.Close(), os.Rename(temp.Name(), target))
}

func (f files) Load(_ context.Context, name string) ([]byte, error) {
	return os.ReadFile(f.path(name))
}

func (f files) List(_ context.Context, dir string, _ bool) ([]string, error) {
	entries, err := os.ReadDir(f.path(dir))
	var names []string
	for _, entry := range entries {
		names = append(names, path.Join(dir, entry.Name()))
	}
	return names, err
}

func TestConformance(t *testing.T) {
	for name, fresh := range map[string]func(t *testing.T) sealedstore.Storage{
		"memory": func(*testing.T) sealedstore.Storage { return newMemory() },
		"files":  func(t *testing.T) sealedstore.Storage { return files{t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			backing := func(t *testing.T) storetest.Backing {
				storage := fresh(t)
				return storetest.Backing{Open: func(t *testing.T) connection.Store { return open(t, storage, keyA) }}
			}
			storetest.Run(t, backing)
			storetest.RunDocuments(t, backing)
		})
	}
}
