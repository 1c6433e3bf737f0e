package freeze

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// ErrUnknown means that the list has not been read since the process started,
// so that nobody knows what is frozen. It wraps the reason.
var ErrUnknown = errors.New("it is not known yet what is frozen")

// Copies keeps copies of documents outside the store, for a process that
// starts while the store is down. It is safe for concurrent use.
type Copies interface {
	// KeepDocument replaces the copy of a document.
	KeepDocument(name, text string, version uint64) error
	// RecallDocument returns the copy, or [connection.ErrNotFound].
	RecallDocument(name string) (text string, version uint64, err error)
	// ForgetDocument removes the copy, if there is one.
	ForgetDocument(name string) error
}

// Config is what a [Keeper] works with.
type Config struct {
	// Store holds the list; nil is a store that cannot, with which nothing
	// is ever frozen.
	Store connection.DocumentStore
	// Copies is nil for none.
	Copies Copies
	// Logger is told when the list cannot be read; nil discards that.
	Logger *slog.Logger
	// Changed is told which freezes came into force here and which were
	// lifted, if it is not nil, those that are found at the start included.
	// It is called by one goroutine at a time, which waits for it.
	Changed func(added, lifted []Freeze)
}

// Keeper knows what is frozen. It is safe for concurrent use. Until the list
// was read for the first time, calls wait for that; afterwards the last known
// list holds, whatever becomes of the store.
type Keeper struct {
	config Config
	// current is nil while nothing is frozen, as far as that is known.
	current atomic.Pointer[list]

	ctx   context.Context
	stop  context.CancelFunc
	start sync.Once
	wg    sync.WaitGroup
	wake  chan struct{}

	// changing guards the order in which changes are told and copied.
	changing sync.Mutex

	mu sync.Mutex // guards what follows
	// known is set once there is a list to go by, and read once that is
	// the store's.
	known, read bool
	version     uint64
	// older counts readings in a row of a version from before version.
	older int
	// failure is why the newest reading failed; nil if it did not.
	failure error
	readAt  time.Time
	// ended is closed when the reading under way, or the next, has ended.
	ended chan struct{}
}

// list is what requests go by. It is never changed.
type list struct {
	known bool
	all   []Freeze
}

// New makes a Keeper. It reads nothing before [Keeper.Start] or the first
// [Keeper.Check]. It has to be closed.
func New(c Config) *Keeper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{config: c, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	k.ctx, k.stop = context.WithCancel(context.Background())
	if c.Store == nil {
		k.known = true
		return k
	}
	k.current.Store(&list{})
	return k
}

// Start begins to read the list in the background. Starting again, or after
// Close, does nothing.
func (k *Keeper) Start() {
	if k.config.Store == nil {
		return
	}
	k.start.Do(func() { k.wg.Go(k.watch) })
}

// Close ends the reading. The last known list holds for calls that come after.
func (k *Keeper) Close() {
	k.start.Do(func() {}) // no start from now on, and none under way
	k.stop()
	k.wg.Wait()
}

// None reports whether nothing is frozen and that is known. It is all that a
// request costs then.
func (k *Keeper) None() bool { return k.current.Load() == nil }

// Check returns the freeze that stops a call, or nil. Before the list was
// first read it waits for that, until the reading under way has ended; the
// error then wraps [ErrUnknown].
func (k *Keeper) Check(ctx context.Context, c Call) (*Freeze, error) {
	l := k.current.Load()
	if l == nil {
		return nil, nil
	}
	if !l.known {
		if err := k.await(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		if l = k.current.Load(); l == nil {
			return nil, nil
		}
	}
	for i := range l.all {
		if l.all[i].matches(&c) {
			return &l.all[i], nil
		}
	}
	return nil, nil
}

// await waits until the list is known, or the reading under way has failed.
func (k *Keeper) await(ctx context.Context) error {
	k.Start()
	k.mu.Lock()
	known, ended := k.known, k.ended
	k.mu.Unlock()
	if known {
		return nil
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-k.ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.known:
		return nil
	case k.failure != nil:
		return k.failure
	}
	return errors.New("the sidecar is stopping")
}

// Report is what a [Keeper] knows.
type Report struct {
	// Freezes are in force here, oldest first.
	Freezes []Freeze
	// Known is false before there is a list to go by.
	Known bool
	// ReadAt is when the store last confirmed the list; zero for never.
	ReadAt time.Time
	// Problem is why the newest reading failed, or the list cannot be kept.
	Problem error
}

// Report returns what is known now. It waits for nothing.
func (k *Keeper) Report() Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := Report{Known: k.known, ReadAt: k.readAt, Problem: k.failure}
	if k.config.Store == nil {
		r.Problem = ErrNotKept
	}
	if l := k.current.Load(); l != nil {
		r.Freezes = slices.Clone(l.all)
	}
	return r
}
