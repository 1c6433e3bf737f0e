package admission

import (
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

// lookupBudget has a bucket for each caller who has asked for a user that is
// not there. Callers are configured, so there are only so many. The zero value
// is ready; it is safe for concurrent use.
type lookupBudget struct {
	callers sync.Map // of caller names to *rate.Limiter
}

// LookUp has a connection of a user asked for on behalf of a caller, nil for
// one without a key, unless the store would have to be read for it and the
// caller has asked for too many users that are not there: that is refused with
// an [*apierror.Error]. Other errors are those of ask.
func (d *Desk) LookUp(app *hubapp.App, caller *access.Caller, user string, ask func() error) error {
	if app.Manager.Remembers(user) {
		return ask()
	}
	name := ""
	if caller != nil {
		name = caller.Name()
	}
	if err := d.lookups.check(name, d.now()); err != nil {
		return err
	}
	err := ask()
	if errors.Is(err, connection.ErrNotConnected) {
		d.lookups.note(name, d.now())
	}
	return err
}

func (b *lookupBudget) check(caller string, now time.Time) error {
	known, ok := b.callers.Load(caller)
	if !ok {
		return nil
	}
	missing := 1 - known.(*rate.Limiter).TokensAt(now)
	if missing <= 0 {
		return nil
	}
	e := apierror.New(apierror.RateLimited,
		"This caller has asked for too many users that have no connection, and each has to be looked up in the store. Try again soon.")
	wait := time.Duration(math.Ceil(missing / unknownUsers * float64(time.Second)))
	e.RetryAfter = max(wait, e.RetryAfter)
	return e
}

func (b *lookupBudget) note(caller string, now time.Time) {
	known, ok := b.callers.Load(caller)
	if !ok {
		known, _ = b.callers.LoadOrStore(caller, rate.NewLimiter(unknownUsers, unknownBurst))
	}
	known.(*rate.Limiter).AllowN(now, 1)
}
