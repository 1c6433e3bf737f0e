package admission

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// How many users that are not there one caller may ask for. Each costs the
// store a reading, which a known user does not.
const (
	unknownUsers = 10 // per second
	unknownBurst = 30
)

// lookupBudget has a bucket for each caller. Callers are configured, so there
// are only so many. The zero value is ready; it is safe for concurrent use.
type lookupBudget struct {
	callers sync.Map // of caller names to *lookups
}

// lookups are those of one caller.
type lookups struct {
	mu      sync.Mutex
	unknown *rate.Limiter
	// pending are under way: each may be of a user that is not there.
	pending int
	// ended is closed when one has ended.
	ended chan struct{}
}

// LookUp has a connection of a user asked for on behalf of a caller, nil for
// one without a key, unless the store would have to be read for it and the
// caller has asked for too many users that are not there: that is refused with
// an [*apierror.Error]. While as many are under way as may be of such users, it
// waits, no longer than ctx. Other errors are those of ask.
func (d *Desk) LookUp(ctx context.Context, app *hubapp.App, caller *access.Caller, user string, ask func() error) error {
	if app.Manager.Remembers(user) {
		return ask()
	}
	name := ""
	if caller != nil {
		name = caller.Name()
	}
	l := d.lookups.of(name)
	if err := l.begin(ctx, d.now); err != nil {
		return err
	}
	missing := false
	// Also where ask panics, as handlers do to break an answer off.
	defer func() { l.end(missing, d.now()) }()
	err := ask()
	missing = errors.Is(err, connection.ErrNotConnected)
	return err
}

func (b *lookupBudget) of(caller string) *lookups {
	known, ok := b.callers.Load(caller)
	if !ok {
		known, _ = b.callers.LoadOrStore(caller, &lookups{unknown: rate.NewLimiter(unknownUsers, unknownBurst), ended: make(chan struct{})})
	}
	return known.(*lookups)
}

// begin waits until one more may be of a user that is not there.
func (l *lookups) begin(ctx context.Context, now func() time.Time) error {
	for {
		l.mu.Lock()
		left, ended := l.unknown.TokensAt(now()), l.ended
		if left >= float64(l.pending+1) {
			l.pending++
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		if left < 1 {
			return tooManyLookups(1 - left)
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return tooManyLookups(1)
		}
	}
}

func (l *lookups) end(missing bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending--
	if missing {
		l.unknown.AllowN(now, 1)
	}
	close(l.ended)
	l.ended = make(chan struct{})
}

func tooManyLookups(missing float64) error {
	e := apierror.New(apierror.RateLimited,
		"This caller has asked for too many users that have no connection, and each has to be looked up in the store. Try again soon.")
	wait := time.Duration(math.Ceil(missing / unknownUsers * float64(time.Second)))
	e.RetryAfter = max(wait, e.RetryAfter)
	return e
}
