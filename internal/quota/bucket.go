package quota

import (
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// bucket paces the requests to one portal. Times are nanoseconds on the
// limiter's clock.
type bucket struct {
	limiter *Limiter
	policy  string

	mu     sync.Mutex
	count  int   // the configured limit …
	per    int64 // … in this span
	slack  int64 // how long after sending a request it arrives at the latest
	sends  sendLog
	share  share
	gate   gate
	queues [lanes]queue
	// last is when the last request was let go, or should have been.
	last int64
	// credit counts requests let go since batch work had its turn.
	credit int
	timer  *time.Timer

	// The list of buckets, which the set guards.
	hubID      int64
	used       int64
	prev, more *bucket
}

const (
	// batchTurn: while both lanes wait, batch work has one place in so many.
	batchTurn = 10
	// headroomPart of the quota is what batch work leaves free when it is
	// alone.
	headroomPart = 20
	// slackPart of the span is how long a request can take to arrive.
	slackPart = 50
	// lateSlacks is after how many of that an answer is so late that the
	// request may have taken longer.
	lateSlacks = 5
)

func newBucket(l *Limiter, hubID int64, rate Rate, policy string) *bucket {
	per := int64(rate.Per)
	return &bucket{
		limiter: l, policy: policy, hubID: hubID,
		count: rate.Count, per: per, slack: per / slackPart,
		share: share{max: rate.Count, span: per},
	}
}

// try lets a request go at once, if it may.
func (b *bucket) try(now int64, r *Request) (ticket Ticket, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.free(r.Lane) || b.readyAt(needOf(r, now)) > now {
		return Ticket{}, false
	}
	return b.send(now, r.Lane), true
}

// free reports whether nobody is in front of a request that comes now.
func (b *bucket) free(lane Lane) bool {
	if lane == Batch {
		return b.queues[Interactive].n == 0 && b.queues[Batch].n == 0
	}
	return b.queues[Interactive].n == 0 && !b.batchIsNext()
}

// batchIsNext reports whether it is the turn of batch work that waits.
func (b *bucket) batchIsNext() bool {
	return b.queues[Batch].n > 0 && b.credit >= batchTurn-1
}

// need is what counts of a request for when it may go.
type need struct {
	lane Lane
	// until is when its patience ends.
	until int64
	// again is how often it was let go before.
	again int
}

func needOf(r *Request, now int64) need {
	return need{lane: r.Lane, until: now + int64(r.Wait), again: r.Again}
}

// readyAt is when a request may go, without regard to evenness.
func (b *bucket) readyAt(n need) int64 {
	count, less := b.count, 0
	if n.lane == Batch && b.credit < batchTurn-1 {
		count -= count / headroomPart
		less = b.share.limit() / headroomPart
	}
	at := b.gate.until
	if !b.share.shared && b.share.span == b.per {
		return max(at, b.sends.freeAt(min(count, b.share.max-less), b.per))
	}
	return max(at, b.sends.freeAt(count, b.per), b.share.freeAt(&b.sends, less, n))
}

// send lets a request go.
func (b *bucket) send(now int64, lane Lane) Ticket {
	b.last = now
	if lane == Batch {
		b.credit = 0
	} else if b.credit < batchTurn {
		b.credit++
	}
	b.share.sending(&b.sends, now)
	seq := b.sends.add(now+b.slack, max(b.count, b.share.max), now-max(b.per, b.share.span))
	return Ticket{bucket: b, seq: seq, sent: now}
}

// queue has a request wait for its turn, unless that could not come in time
// even if nobody were ahead: those who are may give up. The result is one of
// the three.
func (b *bucket) queue(now int64, r *Request) (Ticket, *waiter, *Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share.forget(now)
	if probe, refusal := b.gate.shut(now); refusal != nil {
		return Ticket{}, nil, refusal
	} else if probe || b.free(r.Lane) && b.readyAt(needOf(r, now)) <= now {
		return b.send(now, r.Lane), nil, nil
	}
	need := needOf(r, now)
	if r.Wait <= 0 || b.placeAt(0)-b.slack > need.until {
		return Ticket{}, nil, b.refuse(now, b.ahead(r))
	}
	w := &waiter{need: need, done: make(chan outcome, 1)}
	b.queues[r.Lane].push(w, r.Again > 0)
	b.pump(now)
	return Ticket{}, w, nil
}

// ahead is how many requests would go before r.
func (b *bucket) ahead(r *Request) int {
	interactive, batch := b.queues[Interactive].n, b.queues[Batch].n
	switch {
	case r.Lane == Batch && r.Again > 0:
		return min(interactive, batchTurn-1)
	case r.Lane == Batch:
		return min(batch*batchTurn, batch+interactive)
	case r.Again > 0:
		return 0
	}
	return interactive + min(batch, interactive/(batchTurn-1))
}

// placeAt is when the configured quota has room for a request with so many
// ahead of it. Whatever others leave of HubSpot's limit, it is not earlier.
func (b *bucket) placeAt(ahead int) int64 {
	return max(b.gate.until, b.sends.freeFor(b.count, b.per, ahead))
}

func (b *bucket) refuse(now int64, ahead int) *Refusal {
	at := max(b.placeAt(ahead), b.sends.freeFor(b.share.limit(), b.share.span, ahead))
	return &Refusal{Policy: b.policy, RetryAfter: time.Duration(max(at-now, int64(time.Millisecond)))}
}

// pump lets go who may, and sets the timer for the next.
func (b *bucket) pump(now int64) {
	for {
		lane, w := b.next()
		if w == nil {
			return
		}
		at := b.releaseAt(w)
		if at > now {
			b.wake(time.Duration(at - now))
			return
		}
		b.queues[lane].remove(w)
		last := b.paced(at)
		w.done <- outcome{ticket: b.send(now, lane)}
		b.last = max(last, now-b.slack)
	}
}

// next is the waiter whose turn it is.
func (b *bucket) next() (Lane, *waiter) {
	if b.queues[Interactive].n == 0 || b.batchIsNext() {
		return Batch, b.queues[Batch].head
	}
	return Interactive, b.queues[Interactive].head
}

// wake has pump run after d. The timer runs only while somebody waits.
func (b *bucket) wake(d time.Duration) {
	if b.timer != nil {
		b.timer.Reset(d)
		return
	}
	b.timer = time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pump(b.limiter.now())
	})
}

// leave takes a waiter out whose patience has ended, or who is gone. ok is
// false if its outcome is there already.
func (b *bucket) leave(w *waiter, lane Lane) (refusal *Refusal, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !w.queued {
		return nil, false
	}
	b.queues[lane].remove(w)
	now := b.limiter.now()
	b.pump(now)
	return b.refuse(now, 0), true
}

// soon reports whether the waiter at the head of the lane is let go within d.
func (b *bucket) soon(w *waiter, d int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return w.queued && b.readyAt(w.need) <= b.limiter.now()+d
}

// answered takes in an answer that was not a refusal.
func (b *bucket) answered(t Ticket, usage hubspot.Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.limiter.now()
	b.sends.answered(t.seq, now)
	if now > t.sent+lateSlacks*b.slack {
		b.share.late(now)
	}
	b.gate.passed(t.seq)
	if usage == (hubspot.Usage{}) {
		b.share.grow()
	} else {
		more := b.share.learn(&b.sends, sight{now: now, sent: t.sent, seq: t.seq, usage: usage})
		// New slots can be used at once.
		if more > 0 && b.share.shared {
			b.last -= int64(more * float64(b.spacing()))
		}
	}
	b.pump(now)
}

// limited takes in a refusal.
func (b *bucket) limited(t Ticket, limited hubspot.Limited) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.limiter.now()
	b.sends.answered(t.seq, now)
	if limited.Daily() {
		refusal := b.gate.daily(now, b.sends.next, limited.RetryAfter)
		for lane := range b.queues {
			for w := b.queues[lane].head; w != nil; w = b.queues[lane].head {
				b.queues[lane].remove(w)
				w.done <- outcome{refusal: refusal}
			}
		}
		return
	}
	if limited.Policy == b.policy || limited.Policy == "" {
		b.share.full(&b.sends, sight{now: now, sent: t.sent, seq: t.seq})
	}
	b.gate.close(now, t.seq, b.sends.next, b.pause(limited), b.share.span/4, limited.RetryAfter)
	b.pump(now)
}

// pause is how long it takes until the limit has room again, at a guess: a
// rolling window moves all the time, so it is the time of one slot.
func (b *bucket) pause(limited hubspot.Limited) int64 {
	if limited.Policy != "" && limited.Policy != b.policy {
		// Another window than ours, so a second of its own.
		return int64(time.Second)
	}
	return b.share.span / int64(b.share.limit())
}

// unsent takes back a request that did not leave.
func (b *bucket) unsent(t Ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sends.withdraw(t.seq)
	b.pump(b.limiter.now())
}

// headroom is the part of the quota that is not used; ok is false if none of
// it was used lately.
func (b *bucket) headroom(now int64) (part float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := min(b.count, b.share.limit())
	own := b.sends.since(now - b.per)
	return max(0, 1-float64(own)/float64(count)), own > 0
}

// idle reports whether the bucket may be forgotten.
func (b *bucket) idle(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gate.until <= now && b.queues[Interactive].n+b.queues[Batch].n == 0
}
