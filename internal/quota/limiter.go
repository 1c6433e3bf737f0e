package quota

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Rate is a limit: Count requests in any span of the length Per. Both must be
// positive.
type Rate struct {
	Count int
	Per   time.Duration
}

// Config is what a [Limiter] is made of.
type Config struct {
	// Burst and Search are the quotas of each portal. HubSpot's headers can
	// lower the first, not raise it.
	Burst, Search Rate
	// MaxPortals bounds how many portals are remembered for each of the two;
	// the one that was not used for longest is forgotten. 0 means 20,000.
	MaxPortals int
}

const defaultMaxPortals = 20_000

// Limiter paces the requests of one app, for each portal on its own. It is
// safe for concurrent use, and starts no goroutines that it has to be rid of.
type Limiter struct {
	epoch  time.Time
	burst  set
	search set
	// journal has one bucket, as that limit is not counted by portal.
	journal set
}

// journalRate is what HubSpot documents for the webhooks journal of an app.
var journalRate = Rate{Count: 100, Per: time.Second}

// NewLimiter makes a Limiter.
func NewLimiter(c Config) *Limiter {
	size := c.MaxPortals
	if size <= 0 {
		size = defaultMaxPortals
	}
	l := &Limiter{epoch: time.Now()}
	l.burst.init(l, c.Burst, hubspot.PolicyTenSecondlyRolling, size)
	l.search.init(l, c.Search, hubspot.PolicySecondly, size)
	l.journal.init(l, journalRate, hubspot.PolicySecondly, 1)
	return l
}

// now is the time on the limiter's clock, which begins with the limiter.
func (l *Limiter) now() int64 { return int64(time.Since(l.epoch)) }

// Request asks for permission to send one request.
type Request struct {
	// HubID is the portal.
	HubID int64
	// Limit is the one that counts the request.
	Limit hubspot.Limit
	// Lane is its urgency.
	Lane Lane
	// Caller and Token say who asks: a caller of the configuration, and a
	// user token of it. Those who wait are served in turn by them.
	Caller, Token string
	// Weight is how many turns the caller has where others have one; 0 is 1.
	Weight int
	// Wait is how long it can wait from the call that it is given to, to
	// within a fiftieth of the quota's span; 0 or less does not wait. It is
	// not refused before that time is over, unless it is certain that there
	// is no place in it. The context's deadline counts as well.
	Wait time.Duration
	// Again is how often it was let go before and not processed. If it was,
	// it goes to the front of its lane.
	Again int
}

func (r *Request) weight() float64 { return float64(max(r.Weight, 1)) }

// Refusal is the error of a request for which there is no place in time.
type Refusal struct {
	// Policy is the limit, as HubSpot calls it.
	Policy string
	// RetryAfter is when there may be a place, from now.
	RetryAfter time.Duration
}

// Error names the limit.
func (r *Refusal) Error() string {
	return fmt.Sprintf("no place within the %s quota in time; one may be free in %v", r.Policy, r.RetryAfter.Round(time.Millisecond))
}

// Try lets a request go at once, if it may: there is room in its limit and
// nobody is in front of it. It neither waits nor queues the request, whatever
// r.Wait says; if ok is false, nothing has happened, and [Limiter.Wait] is
// next.
//
// With a ticket, here as in Wait and Acquire, one of its methods has to be
// called once it is known what came of the request.
func (l *Limiter) Try(r Request) (ticket Ticket, ok bool) { return l.try(&r) }

func (l *Limiter) try(r *Request) (ticket Ticket, ok bool) {
	now := l.now()
	b := l.bucket(r, now)
	if b == nil {
		return Ticket{}, true
	}
	return b.try(now, r)
}

// Wait queues a request and waits until it may go, or lets it go at once if
// that has become possible. The error is a [*Refusal], or that of ctx if it
// ends first.
func (l *Limiter) Wait(ctx context.Context, r Request) (Ticket, error) {
	now := l.now()
	b := l.bucket(&r, now)
	if b == nil {
		return Ticket{}, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.Wait = min(r.Wait, time.Until(deadline))
	}
	ticket, w, refusal := b.queue(now, &r)
	switch {
	case w != nil:
		return b.wait(ctx, w, r.Wait)
	case refusal != nil:
		return Ticket{}, refusal
	}
	return ticket, nil
}

// Acquire is [Limiter.Try] and then, if need be, [Limiter.Wait], for those who
// have nothing to do in between.
func (l *Limiter) Acquire(ctx context.Context, r Request) (Ticket, error) {
	if ticket, ok := l.try(&r); ok {
		return ticket, nil
	}
	return l.Wait(ctx, r)
}

// bucket returns the bucket that counts a request, or nil if none does.
func (l *Limiter) bucket(r *Request, now int64) *bucket {
	switch r.Limit {
	case hubspot.BurstLimit:
		return l.burst.get(r.HubID, now)
	case hubspot.SearchLimit:
		return l.search.get(r.HubID, now)
	case hubspot.JournalLimit:
		return l.journal.get(0, now)
	}
	return nil
}

// wait waits for the outcome of w.
func (b *bucket) wait(ctx context.Context, w *waiter, patience time.Duration) (Ticket, error) {
	begun := b.limiter.now()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	extension := min(time.Duration(b.slack), patience/slackPart)
	for {
		select {
		case o := <-w.done:
			return o.waited(ctx, b.limiter.now()-begun)
		case <-ctx.Done():
			if _, ok := b.leave(w); ok {
				return Ticket{}, ctx.Err()
			}
		case <-timer.C:
			if extension > 0 && b.soon(w, int64(extension)) {
				timer.Reset(extension)
				extension = 0
				continue
			}
			if refusal, ok := b.leave(w); ok {
				return Ticket{}, refusal
			}
		}
		// The outcome came first.
		return (<-w.done).waited(ctx, b.limiter.now()-begun)
	}
}

func (o outcome) waited(ctx context.Context, d int64) (Ticket, error) {
	if o.refusal != nil {
		return Ticket{}, o.refusal
	}
	if err := ctx.Err(); err != nil {
		o.ticket.Unsent()
		return Ticket{}, err
	}
	// Whoever was queued has waited, however short.
	o.ticket.Waited = max(time.Duration(d), 1)
	return o.ticket, nil
}

// Headroom returns the part of the burst quota that is left, between 0 and 1,
// on the portal that is closest to its quota; 1 if none was used lately.
func (l *Limiter) Headroom() float64 { return l.burst.headroom(l.now()) }

// Ticket is the permission to send one request. The zero value is that of a
// request which is not counted.
type Ticket struct {
	// Waited is how long the request waited; 0 if it did not.
	Waited time.Duration

	bucket *bucket
	seq    uint64
	sent   int64
}

// Answered says that HubSpot has answered, other than with a refusal for the
// sake of a limit, and what it told of its limit.
func (t Ticket) Answered(usage hubspot.Usage) {
	if t.bucket != nil {
		t.bucket.answered(t, usage)
	}
}

// Limited says that HubSpot has refused the request for the sake of a limit.
func (t Ticket) Limited(limited hubspot.Limited) {
	if t.bucket != nil {
		t.bucket.limited(t, limited)
	}
}

// Unsent says that the request has not left, so that HubSpot does not count
// it.
func (t Ticket) Unsent() {
	if t.bucket != nil {
		t.bucket.unsent(t)
	}
}

// Unanswered says that there was no answer. HubSpot may have counted the
// request.
func (t Ticket) Unanswered() {
	if t.bucket != nil {
		t.bucket.unanswered(t)
	}
}
