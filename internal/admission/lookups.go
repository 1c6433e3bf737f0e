package admission

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
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
	callers sync.Map // of caller names to *rate.Limiter
}

func (b *lookupBudget) of(caller *access.Caller) *rate.Limiter {
	name := ""
	if caller != nil {
		name = caller.Name()
	}
	known, ok := b.callers.Load(name)
	if !ok {
		known, _ = b.callers.LoadOrStore(name, rate.NewLimiter(unknownUsers, unknownBurst))
	}
	return known.(*rate.Limiter)
}

// CheckLookup refuses to look up a user in the store for a caller, nil for one
// without a key, who has asked for too many that are not there. The error is an
// [*apierror.Error].
func (d *Desk) CheckLookup(caller *access.Caller) error {
	missing := 1 - d.lookups.of(caller).TokensAt(d.now())
	if missing <= 0 {
		return nil
	}
	e := apierror.New(apierror.RateLimited,
		"This caller has asked for too many users that have no connection, and each has to be looked up in the store. Try again soon.")
	wait := time.Duration(math.Ceil(missing / unknownUsers * float64(time.Second)))
	e.RetryAfter = max(wait, e.RetryAfter)
	return e
}

// NoteUnknown counts a user whom a caller, nil for one without a key, asked for
// and who is not there.
func (d *Desk) NoteUnknown(caller *access.Caller) { d.lookups.of(caller).AllowN(d.now(), 1) }
