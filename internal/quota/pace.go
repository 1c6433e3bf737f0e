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
	if even <= ready {
		return ready
	}
	from := max(ready, b.last)
	return max(ready, min(even, from+b.squeeze(from)))
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
	place, least := 1, b.per
	for lane := range b.queues {
		for w := b.queues[lane].head; w != nil && place <= maxSqueezed; w = w.next {
			if max(b.placeAt(place-1), b.sends.freeFor(b.share.limit(), b.share.span, place-1)) <= w.until+b.slack {
				least = min(least, (w.until-margin-from)/int64(place))
			}
			place++
		}
	}
	return max(least, 0)
}
