package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

const (
	// lookEvery is the time between two looks at the document, ±20 %: what
	// the reader has found is seen by all within four seconds.
	lookEvery = 3 * time.Second
	// readEvery is the least time between two readings of the journal.
	readEvery = 5 * time.Second
	// lease is how long a claim is respected whose document does not move, by
	// the watcher's own clock. The reader writes three times as often.
	lease = 30 * time.Second
	// callTimeout bounds one call of the journal's endpoints.
	callTimeout = 10 * time.Second
)

// Config is what a [Watcher] works with. All but AppID, Owner and Observer are
// required.
type Config struct {
	// App is the app's name in lower case, and AppID its number at HubSpot; 0
	// is not known.
	App   string
	AppID int64
	// Endpoints say where the API is, and which version of it.
	Endpoints hubspot.Endpoints
	// Store keeps the document; nil is a store that cannot.
	Store connection.DocumentStore
	// Manager has the app's connections and gives its token.
	Manager *connection.Manager
	Logger  *slog.Logger
	// Owner names this machine in the claim; empty is its host name.
	Owner string
	// Observer counts what was read.
	Observer Observer
	// Hurry divides the waits, for tests. 0 is 1.
	Hurry int
}

// Observer is told what a [Watcher] has read. It must be safe for concurrent
// use.
type Observer interface {
	// JournalEvents counts events in the files that this process has read.
	JournalEvents(app, event string, n int)
	// JournalRead notes when the journal was last read to its end, by this
	// process or another, by HubSpot's clock.
	JournalRead(app string, at time.Time)
}

// Watcher follows the journal of one app in one process. Make one with [New],
// start it with [Watcher.Start]; it ends with [Watcher.Close].
type Watcher struct {
	config Config
	name   string
	client *client
	files  *fetcher

	ctx   context.Context
	stop  context.CancelFunc
	start sync.Once
	wg    sync.WaitGroup

	// What follows belongs to the goroutine of the watcher.

	// claim is this process's own, empty while it reads nothing.
	claim string
	// seen is the last uninstall that was looked at here.
	seen uint64
	// version is that of the document when it was last seen to move, at
	// movedAt.
	version uint64
	movedAt time.Time
	// restUntil is until when this process leaves the claim to others.
	restUntil time.Time
	reading   reading

	// failures counts looks in a row that have failed.
	failures int

	mu     sync.Mutex
	status Status
}

// New makes a Watcher. It asks nobody anything before it is started.
func New(c Config) (*Watcher, error) {
	c.Endpoints = c.Endpoints.WithDefaults()
	api, err := url.Parse(strings.ToLower(c.Endpoints.API))
	if err != nil {
		return nil, fmt.Errorf("reading the API's address: %w", err)
	}
	if c.Hurry == 0 {
		c.Hurry = 1
	}
	if c.Owner == "" {
		c.Owner, _ = os.Hostname()
	}
	w := &Watcher{
		config: c, name: nameOf(c.App), files: newFetcher(api), movedAt: time.Now(),
		client: &client{
			tokens: c.Manager, api: c.Endpoints.API, version: c.Endpoints.Version,
			http: &http.Client{
				Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: callTimeout,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		},
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w, nil
}

// Start begins to follow the journal in the background. Starting again, or after
// Close, does nothing.
func (w *Watcher) Start() { w.start.Do(func() { w.wg.Go(w.watch) }) }

// releaseTimeout bounds giving the claim back.
const releaseTimeout = 2 * time.Second

// Close ends that, and gives the claim back for another process to go on at
// once.
func (w *Watcher) Close() {
	w.start.Do(func() {}) // no start from now on, and none under way
	w.stop()
	w.wg.Wait()
	w.config.Manager.ClearAlarm(connection.AlarmJournal)
	w.config.Manager.ClearAlarm(connection.AlarmJournalGap)
	w.files.close()
	w.client.http.CloseIdleConnections()
}

func (w *Watcher) hurried(d time.Duration) time.Duration { return d / time.Duration(w.config.Hurry) }

func (w *Watcher) watch() {
	for w.ctx.Err() == nil {
		w.note(w.look(w.ctx))
		every := w.hurried(lookEvery)
		timer := time.NewTimer(every*4/5 + randv2.N(every*2/5+1))
		select {
		case <-timer.C:
		case <-w.ctx.Done():
		}
		timer.Stop()
	}
	if w.claim != "" {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		w.release(ctx)
	}
}

// errNoDocuments means that the store cannot keep the document.
var errNoDocuments = errors.New("the store cannot keep what is known of the journal; use store vault or store caddy")

// load asks the store. No document is an empty one of version 0.
func (w *Watcher) load(ctx context.Context) (document, uint64, error) {
	if w.config.Store == nil {
		return document{}, 0, errNoDocuments
	}
	text, version, err := w.config.Store.LoadDocument(ctx, w.name)
	if errors.Is(err, connection.ErrNotFound) {
		return document{App: w.config.App}, 0, nil
	}
	if err != nil {
		return document{}, 0, err
	}
	d, err := decode(text)
	d.App = w.config.App
	return d, version, err
}

// errLost means that another process has written the document.
var errLost = errors.New("another process has the claim")

// save writes the document over a version, and returns the new one. A write
// whose answer was lost is found by its WriteID.
func (w *Watcher) save(ctx context.Context, d document, based uint64) (uint64, error) {
	d.WriteID = rand.Text()
	text, err := d.encode()
	if err != nil {
		return 0, err
	}
	version, err := w.config.Store.SaveDocument(ctx, w.name, text, based)
	if err == nil {
		return version, nil
	}
	stored, version, loadErr := w.load(ctx)
	switch {
	case loadErr == nil && stored.WriteID == d.WriteID:
		return version, nil
	case loadErr == nil && version != based, errors.Is(err, connection.ErrConflict):
		return 0, errLost
	}
	return 0, fmt.Errorf("writing down what is known of the journal: %w", err)
}

// look reads the document, does what it tells, and reads the journal if the
// claim is, or can be, this process's.
func (w *Watcher) look(ctx context.Context) error {
	d, version, err := w.load(ctx)
	if err != nil {
		return fmt.Errorf("reading what is known of the journal: %w", err)
	}
	if version != w.version {
		w.version, w.movedAt = version, time.Now()
	}
	if w.claim != "" && d.Claim == w.claim && w.reading.asOf.After(d.AsOf) {
		d.AsOf = w.reading.asOf
	}
	w.follow(ctx, &d)
	if w.claim == "" || d.Claim != w.claim {
		w.claim = ""
		if !w.mayClaim(&d) {
			return nil
		}
		if version, err = w.take(ctx, &d, version); err != nil {
			return ignoreLost(err)
		}
	}
	t := &turn{Watcher: w, doc: d, version: version, savedAt: w.movedAt}
	err = t.run(ctx)
	w.version = t.version
	if w.version != version {
		w.movedAt = t.savedAt
	}
	if errors.Is(err, errLost) {
		w.claim = ""
		return nil
	}
	return err
}

func ignoreLost(err error) error {
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}

// mayClaim reports whether nobody reads the journal, as far as this process has
// seen by its own clock.
func (w *Watcher) mayClaim(d *document) bool {
	if time.Now().Before(w.restUntil) {
		return false
	}
	return d.Claim == "" || time.Since(w.movedAt) >= w.hurried(lease)
}

// take writes this process's claim into the document.
func (w *Watcher) take(ctx context.Context, d *document, version uint64) (uint64, error) {
	taken := *d
	taken.Claim, taken.Owner = rand.Text(), w.config.Owner
	version, err := w.save(ctx, taken, version)
	if err != nil {
		return 0, err
	}
	if d.Claim != "" {
		w.config.Logger.Warn("took over the journal from a process that has stopped reading it", "app", w.config.App, "owner", d.Owner)
	}
	*d, w.claim, w.reading = taken, taken.Claim, reading{}
	w.version, w.movedAt = version, time.Now()
	return version, nil
}

// release gives the claim back, if it is still this process's.
func (w *Watcher) release(ctx context.Context) {
	d, version, err := w.load(ctx)
	if err != nil || d.Claim != w.claim {
		return // it will lapse
	}
	d.Claim, d.Owner = "", ""
	_, _ = w.save(ctx, d, version)
	w.claim = ""
}
