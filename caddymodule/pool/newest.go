package pool

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Newest is a value that each config using a pooled thing brings along, such
// as its logger. The thing uses the one of the config that came last; when
// that config goes (it may have failed to load), the one before it again. The
// zero value is empty. It is safe for concurrent use and must not be copied.
type Newest[T any] struct {
	mu  sync.Mutex
	all []*T
	cur atomic.Pointer[T]
}

// Attach makes v the newest value. detach takes it back; it may be called
// more than once.
func (n *Newest[T]) Attach(v T) (detach func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	entry := &v
	n.all = append(n.all, entry)
	n.cur.Store(entry)
	return sync.OnceFunc(func() { n.detach(entry) })
}

// detach removes an entry. The last of all stays in use: requests of its
// config may still be running.
func (n *Newest[T]) detach(entry *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(e *T) bool { return e == entry })
	if len(n.all) > 0 {
		n.cur.Store(n.all[len(n.all)-1])
	}
}

// Get returns the newest value; ok is false before the first Attach.
func (n *Newest[T]) Get() (v T, ok bool) {
	if p := n.cur.Load(); p != nil {
		return *p, true
	}
	return v, false
}

// Handler returns a handler that writes to the newest log. Before there is one
// it discards everything. It is safe for concurrent use.
func Handler(logs *Newest[slog.Handler]) slog.Handler { return newestHandler{logs: logs} }

// newestHandler writes to the log of the newest config. What a logger adds
// with With and WithGroup is kept as steps, since the handler to add it to
// changes.
type newestHandler struct {
	logs  *Newest[slog.Handler]
	steps []func(slog.Handler) slog.Handler
}

func (h newestHandler) handler() slog.Handler {
	handler, ok := h.logs.Get()
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
	handler, ok := h.logs.Get()
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
