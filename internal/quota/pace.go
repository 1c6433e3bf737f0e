package quota

// doorPart of the quota is left free by those who wait, while nobody else is
// known: a door for others, who could not get in otherwise, so that nobody
// would know of them.
const doorPart = 100

// releaseAt is when a waiter whose turn has come is let go: evenly after the
// last, or earlier if somebody's patience would end.
func (b *bucket) releaseAt(w *waiter) int64 {
	ready, even := b.readyAt(w.need), b.last+b.spacing()
	if !b.share.shared {
		ready = max(ready, b.sends.freeAt(b.count-b.count/doorPart, b.per))
	}
	several := b.several(b.limiter.now())
	if several {
		even = max(even, b.last+b.stretch())
	}
	if even <= ready {
		return ready
	}
	from := max(ready, b.last)
	hurried := from + b.squeeze(from)
	if several {
		hurried = max(hurried, b.sends.freeAt(max(b.share.limit()/hurryPart, 1), b.share.span))
	}
	return max(ready, min(even, hurried))
}

// hurryPart: while several ask, those whose patience would end may hurry until
// one in so many places of the window is used. The others are for who comes
// later, and would have to wait for the next window.
const hurryPart = 2

// mixedFor is for how many windows it is remembered that several ask: longer
// than those wait who have all asked at once.
const mixedFor = 3

// noteAsker notes who asks.
func (b *bucket) noteAsker(now int64, r *Request) {
	if r.Caller == b.caller && r.Token == b.token {
		return
	}
	if b.sends.next > 0 {
		b.mixed = now + mixedFor*b.per
	}
	b.caller, b.token = r.Caller, r.Token
}

// several reports whether more than one caller, or user token, has asked
// lately.
func (b *bucket) several(now int64) bool { return now < b.mixed }

// stretch is the time between two requests that makes what is left of the
// window last until there is more.
func (b *bucket) stretch() int64 {
	used := b.sends.since(b.last - b.share.span)
	left := min(b.count, b.share.limit()) - used
	if used == 0 || left <= 0 {
		return 0
	}
	more := b.sends.at(b.sends.next-uint64(used)) + b.share.span
	return max(more-b.last, 0) / int64(left+1)
}

// paced is from when to measure the time to the next waiter, if the one
// before was let go at the given time. Timers are late: counting from when it
// was time keeps that from adding up.
func (b *bucket) paced(at int64) int64 {
	if !b.share.shared {
		return at
	}
	// A slot that came late does not make the next one late.
	spacing := b.spacing()
	return min(max(b.last+spacing, at-spacing), at)
}

// spacing is the time between two requests that keeps the rate even; less a
// tenth while the limit is not shared, so that what was missed can be made up
// for. Of a shared limit the slots see to that.
func (b *bucket) spacing() int64 {
	if b.share.shared {
		return int64(float64(b.share.span) / b.share.slots)
	}
	return max(b.per*9/int64(10*b.count), b.share.span*9/int64(10*b.share.max))
}

// maxSqueezed is how many waiters are looked at for their patience.
const maxSqueezed = 1000

// squeeze is the widest even spacing after from that serves in time every
// waiter for whom there is a place in time.
func (b *bucket) squeeze(from int64) int64 {
	margin := b.per / 1000
	least := b.per
	for ahead, w := range b.line.order(maxSqueezed) {
		if max(b.placeAt(ahead), b.sends.freeFor(b.share.limit(), b.share.span, ahead)) <= w.until+b.slack {
			least = min(least, (w.until-margin-from)/int64(ahead+1))
		}
	}
	return max(least, 0)
}
