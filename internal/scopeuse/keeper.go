package scopeuse

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

const (
	// readEvery is the time from one look at the document to the next, ±20 %.
	readEvery = time.Minute
	// writeAfter is how long something new waits for more of it.
	writeAfter = 10 * time.Second
	// maxTries is how often a document is written that others get ahead of, and
	// tryPause the longest pause before another try.
	maxTries = 10
	tryPause = 200 * time.Millisecond
	// reportPatience is how long a report waits for the store.
	reportPatience = 5 * time.Second
)

// ErrNotKept means that the store cannot keep what is learnt.
var ErrNotKept = errors.New("the store cannot keep what is learnt of scopes, so that it is gone when this process ends")

// Config is what a [Keeper] works with.
type Config struct {
	// Store keeps the document; nil is a store that cannot.
	Store connection.DocumentStore
	// Logger is told when the store does not keep the document; nil discards
	// that.
	Logger *slog.Logger
}

// Keeper brings what is learnt in this process together with what others have
// learnt. While the store is away nothing is lost but what ends with the
// process. It is safe for concurrent use.
type Keeper struct {
	config Config

	ctx   context.Context
	stop  context.CancelFunc
	start sync.Once
	wg    sync.WaitGroup
	wake  chan struct{}
	// dirty is set if there is something that the document may lack.
	dirty atomic.Bool

	// syncing is held by who reads and writes the document, and guards failure,
	// which is why that failed the last time.
	syncing sync.Mutex
	failure error

	mu   sync.Mutex // guards apps
	apps map[string]*App
}

// New makes a Keeper, which has to be closed. It asks nothing of the store
// before [Keeper.Start].
func New(c Config) *Keeper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{config: c, wake: make(chan struct{}, 1), apps: make(map[string]*App)}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k
}

// App learns for the app of that name, which is in lower case. All calls for one
// app get the same.
func (k *Keeper) App(name string) *App {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.apps[name]
	if a == nil {
		a = &App{keeper: k, begun: time.Now().Unix(), uses: make(map[string]*use)}
		a.served.Store(new(map[string]*endpoint))
		k.apps[name] = a
	}
	return a
}

// Start begins to keep the document in the background. Starting again, or after
// Close, does nothing.
func (k *Keeper) Start() {
	if k.config.Store == nil {
		return
	}
	k.start.Do(func() { k.wg.Go(k.run) })
}

// Close ends that, and writes what the document lacks for as long as ctx allows.
func (k *Keeper) Close(ctx context.Context) {
	k.start.Do(func() {}) // no start from now on, and none under way
	k.stop()
	k.wg.Wait()
	if k.dirty.Load() {
		_ = k.sync(ctx)
	}
}

// poke has something new be written soon.
func (k *Keeper) poke() {
	k.dirty.Store(true)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper) run() {
	for {
		timer := time.NewTimer(jittered(readEvery))
		select {
		case <-timer.C:
		case <-k.wake:
			timer.Reset(jittered(writeAfter))
			select {
			case <-timer.C:
			case <-k.ctx.Done():
			}
		case <-k.ctx.Done():
		}
		timer.Stop()
		if k.ctx.Err() != nil {
			return
		}
		_ = k.sync(k.ctx)
	}
}

func jittered(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }

// sync reads the document, and writes it if it lacks something.
func (k *Keeper) sync(ctx context.Context) error {
	if k.config.Store == nil {
		return ErrNotKept
	}
	k.syncing.Lock()
	defer k.syncing.Unlock()
	// What is learnt from here on is for the next time.
	k.dirty.Store(false)
	err := k.syncOnce(ctx)
	for try := 1; errors.Is(err, connection.ErrConflict) && try < maxTries && pause(ctx); try++ {
		err = k.syncOnce(ctx)
	}
	if err != nil {
		k.dirty.Store(true)
	}
	if ctx.Err() == nil {
		k.tell(err)
	}
	return err
}

// pause reports whether there is time for another try.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(rand.N(tryPause)):
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *Keeper) syncOnce(ctx context.Context) error {
	now := time.Now()
	text, version, err := k.config.Store.LoadDocument(ctx, documentName)
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return err
	}
	stored, err := decode(text, now)
	if errors.Is(err, connection.ErrCorrupt) {
		// Whoever has learnt what was in it writes it again.
		k.config.Logger.Warn("what the store has of scopes cannot be read; it is replaced by what is known here")
	} else if err != nil {
		return err
	}
	for name, app := range k.all() {
		stored.Apps[name] = app.exchange(stored.Apps[name], now)
	}
	next, err := stored.encode(now)
	if err != nil || next == text || len(stored.Apps) == 0 && text == "" {
		return err
	}
	_, err = k.config.Store.SaveDocument(ctx, documentName, next, version)
	return err
}

func (k *Keeper) all() map[string]*App {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.apps)
}

// tell logs that the document cannot be kept, and that it can again, once each.
// The caller holds syncing.
func (k *Keeper) tell(err error) {
	before := k.failure
	k.failure = err
	switch {
	case errors.Is(err, connection.ErrConflict), err == nil && before == nil:
	case err == nil:
		k.config.Logger.Info("what is learnt of scopes is in the store again")
	case before == nil || errors.Is(before, connection.ErrDenied) != errors.Is(err, connection.ErrDenied):
		k.config.Logger.Warn("what is learnt of scopes cannot be kept in the store; it stays in memory meanwhile", "error", err)
	}
}

// Report is what is known of an app.
type Report struct {
	// Since is when the first sidecar began to learn.
	Since time.Time
	// Needed is when each scope was last needed: to the minute by this process,
	// to the hour by others.
	Needed map[string]time.Time
	// Refusals are in no order.
	Refusals []Refusal
	// Problem is why others' part may be missing.
	Problem error
}

// Refusal is what calls were refused for.
type Refusal struct {
	// Scopes are those of which one would have done; the first is the one by
	// whose name the endpoints go.
	Scopes []string
	// Endpoints are sorted.
	Endpoints []string
	// Tags stand for the connections; with More there were others.
	Tags []string
	More bool
}

// Report tells what is known of the app of that name, after a look at the
// document if the store answers soon.
func (k *Keeper) Report(ctx context.Context, name string) Report {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	a := k.App(name)
	err := k.sync(ctx)
	r := a.report()
	r.Problem = err
	return r
}

func (a *App) report() Report {
	known := a.exchange(knowledge{}, time.Now())
	r := Report{Since: time.Unix(a.begun, 0), Needed: make(map[string]time.Time, len(known.Needed))}
	if known.Since != 0 {
		r.Since = time.Unix(known.Since, 0)
	}
	for scope, at := range known.Needed {
		// An hour begins before what happened in it.
		r.Needed[scope] = time.Unix(max(at.unix(), a.lastHere(scope), known.Since), 0)
	}
	byClause := make(map[clause]*Refusal)
	for _, name := range slices.Sorted(maps.Keys(known.Endpoints)) {
		for c := range known.Endpoints[name] {
			if byClause[c] == nil {
				tags := known.Refused[c]
				byClause[c] = &Refusal{Scopes: preferred(c, name), Tags: slices.Collect(maps.Keys(tags)), More: len(tags) >= maxTags}
			}
			byClause[c].Endpoints = append(byClause[c].Endpoints, name)
		}
	}
	for _, refusal := range byClause {
		r.Refusals = append(r.Refusals, *refusal)
	}
	return r
}

// lastHere is when this process last saw a scope needed.
func (a *App) lastHere(scope string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.uses[scope]; u != nil {
		return u.last.Load()
	}
	return 0
}
