// Package webhookdelivery brings what a [webhookqueue.Queue] holds to the app
// behind, at least once.
package webhookdelivery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// The first wait after an attempt that failed, and the longest. Each is twice the
// one before, give or take a fifth.
const (
	firstWait   = time.Second
	longestWait = time.Minute
	jitter      = 0.2
)

// Workers is how many messages are delivered at a time, of all portals together.
const Workers = 32

// pause is how long a worker waits after the queue itself has failed.
const pause = time.Second

// Settings say where messages go. They may be others for each attempt.
type Settings struct {
	// URL is the address of the app behind.
	URL string
	// Timeout bounds one attempt, its answer included.
	Timeout time.Duration
	// Attempts is how many there are before a message is a dead letter.
	Attempts int
}

// Result is what came of an attempt.
type Result string

const (
	// Delivered is an answer of 2xx.
	Delivered Result = "delivered"
	// Failed is any other answer, or none: there will be another attempt.
	Failed Result = "failed"
	// Dead is the last of those.
	Dead Result = "dead"
)

// Results are all of them.
var Results = []Result{Delivered, Failed, Dead}

// Observer is told what happens. Its methods must be quick and safe for concurrent
// use.
type Observer interface {
	// Attempted is told of an attempt, of how long it took, and how many
	// events it was about.
	Attempted(app string, result Result, took time.Duration, events int)
	// UnknownPortal is told of a message whose portal has no connection.
	UnknownPortal(app string)
}

// Config is what an Engine works with. All fields are required.
type Config struct {
	Queue webhookqueue.Queue
	// Settings are the newest. They are asked for before each attempt.
	Settings func() Settings
	// Transport makes the requests.
	Transport http.RoundTripper
	// Users returns the users of an app's portal. An error is an attempt that
	// failed: who does not know the users cannot do with the event what it is
	// for.
	Users    func(ctx context.Context, app string, portal int64) ([]string, error)
	Observer Observer
	Logger   *slog.Logger
}

// Engine delivers. Make one with [Start].
type Engine struct {
	Config
	client http.Client
	// receiving ends when no more messages are to be received, and working
	// when those that were are to be given back.
	receiving, working   context.Context
	stopReceiving, abort context.CancelFunc
	workers              sync.WaitGroup
}

// Start makes an Engine, and has it deliver until it is closed.
func Start(c Config) *Engine {
	e := &Engine{Config: c}
	e.client = http.Client{
		Transport: c.Transport,
		// The app behind is where the settings say it is, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.receiving, e.stopReceiving = context.WithCancel(context.Background())
	e.working, e.abort = context.WithCancel(context.Background())
	for range Workers {
		e.workers.Go(e.work)
	}
	return e
}

// Close stops delivering. Attempts under way have until the end of ctx; what is
// not delivered then stays in the queue, which the Engine leaves open.
func (e *Engine) Close(ctx context.Context) {
	e.stopReceiving()
	unhook := context.AfterFunc(ctx, e.abort)
	defer unhook()
	e.workers.Wait()
	e.abort()
}

func (e *Engine) work() {
	for {
		d, err := e.Queue.Receive(e.receiving)
		switch {
		case e.receiving.Err() != nil || errors.Is(err, webhookqueue.ErrClosed):
			if err == nil {
				e.giveBack(d)
			}
			return
		case err != nil:
			e.Logger.Error("webhooks cannot be received from the queue", "error", err)
			sleep(e.receiving, pause)
		default:
			e.handle(d)
		}
	}
}

// handle makes an attempt and settles it.
func (e *Engine) handle(d webhookqueue.Delivery) {
	settings, m := e.Settings(), d.Message()
	began := time.Now()
	status, err := e.attempt(settings, d)
	if e.working.Err() != nil && err != nil {
		e.giveBack(d)
		return
	}
	switch {
	case err == nil:
		e.Observer.Attempted(m.App, Delivered, time.Since(began), len(m.Events))
		e.settle(d, d.Done)
	case d.Attempt() >= settings.Attempts:
		e.Observer.Attempted(m.App, Dead, time.Since(began), len(m.Events))
		e.Logger.Error("a webhook could not be delivered and is a dead letter now",
			"app", m.App, "delivery", m.ID, "attempt", d.Attempt(), "status", status, "error", err)
		e.settle(d, func(ctx context.Context) error { return d.Bury(ctx, status) })
	default:
		e.Observer.Attempted(m.App, Failed, time.Since(began), len(m.Events))
		wait := Backoff(d.Attempt())
		e.Logger.Warn("a webhook could not be delivered",
			"app", m.App, "delivery", m.ID, "attempt", d.Attempt(), "status", status, "error", err, "again_in", wait)
		e.settle(d, func(ctx context.Context) error { return d.Retry(ctx, wait, status) })
	}
}

// settle has the queue write what came of an attempt, for as long as it takes:
// until then the message is nobody else's.
func (e *Engine) settle(d webhookqueue.Delivery, write func(context.Context) error) {
	for {
		err := write(e.working)
		if err == nil || errors.Is(err, webhookqueue.ErrClosed) || e.working.Err() != nil {
			return
		}
		e.Logger.Error("the queue does not take what came of a webhook's delivery", "delivery", d.Message().ID, "error", err)
		sleep(e.working, pause)
	}
}

// giveBack returns a message that was not attempted, or not to its end.
func (e *Engine) giveBack(d webhookqueue.Delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), pause)
	defer cancel()
	_ = d.Return(ctx)
}

// Backoff is how long to wait after that many attempts have failed.
func Backoff(attempts int) time.Duration {
	wait := longestWait
	if attempts < 7 {
		wait = min(firstWait<<max(attempts-1, 0), longestWait)
	}
	return time.Duration(float64(wait) * (1 - jitter + 2*jitter*rand.Float64()))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
