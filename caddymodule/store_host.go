package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
)

// newestStorage is the storage of the newest config. Two configs share it
// only if their storages are the same by [storageIdentity], so that what was
// written through one is found through the other.
type newestStorage struct {
	*newest[certmagic.Storage]
	// locks remembers by name which storage a lock was taken from: it has
	// to go back there, whatever config came in between.
	locks sync.Map
}

func (s *newestStorage) storage() certmagic.Storage {
	storage, _ := s.get()
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

// newestHandler writes to the log of the newest config. What a logger adds
// with With and WithGroup is kept as steps, since the handler to add it to
// changes.
type newestHandler struct {
	logs  *newest[slog.Handler]
	steps []func(slog.Handler) slog.Handler
}

func (h newestHandler) handler() slog.Handler {
	handler, ok := h.logs.get()
	if !ok {
		return slog.DiscardHandler
	}
	for _, step := range h.steps {
		handler = step(handler)
	}
	return handler
}

func (h newestHandler) with(step func(slog.Handler) slog.Handler) slog.Handler {
	return newestHandler{logs: h.logs, steps: append(slices.Clip(h.steps), step)}
}

// Enabled implements [slog.Handler].
func (h newestHandler) Enabled(ctx context.Context, level slog.Level) bool {
	handler, ok := h.logs.get()
	return ok && handler.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h newestHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.handler().Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (h newestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(handler slog.Handler) slog.Handler { return handler.WithAttrs(attrs) })
}

// WithGroup implements [slog.Handler].
func (h newestHandler) WithGroup(name string) slog.Handler {
	return h.with(func(handler slog.Handler) slog.Handler { return handler.WithGroup(name) })
}

// Interface guards
var (
	_ certmagic.Storage = (*newestStorage)(nil)
	_ slog.Handler      = newestHandler{}
)
