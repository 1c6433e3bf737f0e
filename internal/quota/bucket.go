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

	mu    sync.Mutex
	count int   // the configured limit …
	per   int64 // … in this span
	slack int64 // how long after sending a request it arrives at the latest
	sends sendLog
	share share
	gate  gate
	line  line
	// last is when the last request was let go, or should have been.
	last int64
	// caller and token are who asked last; mixed is until when others are
	// known to ask.
	caller, token string
	mixed         int64
	// credit is that of all who ask.
	credit credit
	timer  *time.Timer
	// reset is the number of the request from which on HubSpot's answers
	// count: an operator had the bucket forget those before.
	reset uint64

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
		share: newShare(rate.Count, per),
	}
}

// try lets a request go at once, if it may.
func (b *bucket) try(now int64, r *Request) (ticket Ticket, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteAsker(now, r)
	if !b.free(r.Lane) || b.readyAt(needOf(r, now)) > now {
		return Ticket{}, false
	}
	return b.send(now, r), true
}

// free reports whether nobody is in front of a request that comes now.
func (b *bucket) free(lane Lane) bool {
	if lane == Batch {
		return b.line.empty()
	}
	return b.line.n[Interactive] == 0 && (b.line.n[Batch] == 0 || !b.credit.spent())
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
	if n.lane == Batch && b.line.n[Interactive] == 0 && !b.credit.spent() {
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
func (b *bucket) send(now int64, r *Request) Ticket {
	if !b.line.empty() {
		if a := b.line.find(r); a != nil {
			a.credit.took(r.Lane)
		}
	}
	return b.let(now, r.Lane)
}

// let notes that a request goes now.
func (b *bucket) let(now int64, lane Lane) Ticket {
	b.last = now
	b.credit.took(lane)
	b.share.sending(&b.sends, now)
	seq := b.sends.add(now+b.slack, max(b.count, b.share.max), now-max(b.per, b.share.span))
	b.gate.sending(now, seq)
	return Ticket{bucket: b, seq: seq, sent: now}
}

// queue has a request wait for its turn, unless that could not come in time
// even if nobody were ahead: those who are may give up. The result is one of
// the three.
func (b *bucket) queue(now int64, r *Request) (Ticket, *waiter, *Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share.forget(now)
	b.noteAsker(now, r)
	need := needOf(r, now)
	if refusal := b.gate.shut(now); refusal != nil {
		return Ticket{}, nil, refusal
	} else if b.free(r.Lane) && b.readyAt(need) <= now {
		return b.send(now, r), nil, nil
	}
	if r.Wait <= 0 || b.placeAt(0)-b.slack > need.until {
		return Ticket{}, nil, b.refuse(now, b.line.ahead(r))
	}
	w := &waiter{need: need, done: make(chan outcome, 1)}
	b.line.push(r, w, b.credit)
	b.pump(now)
	return Ticket{}, w, nil
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
		w := b.line.next()
		if w == nil {
			return
		}
		at := b.releaseAt(w)
		if at > now {
			b.wake(time.Duration(at - now))
			return
		}
		w.asker.credit.took(w.lane)
		b.line.serve(w)
		last := b.paced(at)
		w.done <- outcome{ticket: b.let(now, w.lane)}
		b.last = max(last, now-b.slack)
	}
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
func (b *bucket) leave(w *waiter) (refusal *Refusal, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.asker == nil {
		return nil, false
	}
	b.line.remove(w)
	now := b.limiter.now()
	b.pump(now)
	return b.refuse(now, 0), true
}

// soon reports whether the waiter at the head of the lane is let go within d.
func (b *bucket) soon(w *waiter, d int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return w.asker != nil && b.readyAt(w.need) <= b.limiter.now()+d
}

// answered takes in an answer that was not a refusal.
func (b *bucket) answered(t Ticket, usage hubspot.Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.limiter.now()
	b.sends.answered(t.seq, now)
	if t.seq < b.reset {
		return
	}
	if now > t.sent+lateSlacks*b.slack {
		b.share.late(now)
	}
	b.gate.passed(t.seq)
	// A window longer than that would keep requests away for as long.
	if usage == (hubspot.Usage{}) || usage.Per > maxClosed {
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
	if t.seq < b.reset {
		return
	}
	if !limited.Daily() && (limited.Policy == b.policy || limited.Policy == "") {
		b.share.full(&b.sends, sight{now: now, sent: t.sent, seq: t.seq})
	}
	b.gate.close(now, t.seq, b.sends.next, limited, pauses{b.pause(limited), b.share.span / 4})
	if refusal := b.gate.shut(now); refusal != nil {
		for w := b.line.next(); w != nil; w = b.line.next() {
			b.line.remove(w)
			w.done <- outcome{refusal: refusal}
		}
	}
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
	now := b.limiter.now()
	b.sends.withdraw(t.seq)
	b.gate.unknown(now, t.seq)
	b.pump(now)
}

// unanswered notes that nothing is known of a request.
func (b *bucket) unanswered(t Ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.limiter.now()
	b.gate.unknown(now, t.seq)
	b.pump(now)
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
	return b.gate.until <= now && !b.gate.probing && b.line.empty()
}
