package quota

// sendLog remembers when the last requests were sent, in a ring. Times are
// nanoseconds on the limiter's clock; requests are numbered in the order in
// which they were sent.
type sendLog struct {
	// arrived has, for each request, the latest time at which it can have
	// arrived at HubSpot. len(arrived) is a power of two.
	arrived []int64
	// next is the number of the next request.
	next uint64
	// settled: the times of all requests before it are final and in order.
	settled uint64
}

const smallestLog = 8

// add notes a request that arrives by the given time. limit is how many
// requests have to be remembered as long as they are not older than oldest.
func (l *sendLog) add(arrival int64, limit int, oldest int64) uint64 {
	size := uint64(len(l.arrived))
	switch {
	case size == 0:
		l.arrived = make([]int64, smallestLog)
	case l.next >= size && size < uint64(limit) && l.at(l.next-size) > oldest:
		l.grow()
	}
	seq := l.next
	l.arrived[seq&uint64(len(l.arrived)-1)] = arrival
	l.next++
	return seq
}

func (l *sendLog) grow() {
	bigger := make([]int64, 2*len(l.arrived))
	for seq := l.first(); seq < l.next; seq++ {
		bigger[seq&uint64(len(bigger)-1)] = l.at(seq)
	}
	l.arrived = bigger
}

func (l *sendLog) at(seq uint64) int64 { return l.arrived[seq&uint64(len(l.arrived)-1)] }

// first is the oldest request that is remembered. Older ones have no part in
// any window.
func (l *sendLog) first() uint64 {
	if size := uint64(len(l.arrived)); l.next > size {
		return l.next - size
	}
	return 0
}

// answered brings the arrival of a request forward to the time of its answer.
func (l *sendLog) answered(seq uint64, now int64) {
	if seq >= l.settled && seq >= l.first() && now < l.at(seq) {
		l.arrived[seq&uint64(len(l.arrived)-1)] = now
	}
}

// withdraw takes back a request that was not sent, if it was the last.
func (l *sendLog) withdraw(seq uint64) {
	if seq+1 == l.next && seq >= l.settled {
		l.next--
	}
}

// freeAt returns when a window of the length span that may hold limit
// requests has room for one more; 0 if it always had.
func (l *sendLog) freeAt(limit int, span int64) int64 {
	if uint64(limit) > l.next || l.next-uint64(limit) < l.first() {
		return 0
	}
	seq := l.next - uint64(limit)
	l.settle(seq)
	return l.at(seq) + span
}

// settle makes the times of the requests up to seq final. An answer can have
// come later than that of a request sent later; in the order of sending, each
// then counts as arrived when all before it have.
func (l *sendLog) settle(seq uint64) {
	l.settled = max(l.settled, l.first())
	for ; l.settled <= seq; l.settled++ {
		if l.settled > l.first() {
			i := l.settled & uint64(len(l.arrived)-1)
			l.arrived[i] = max(l.arrived[i], l.at(l.settled-1))
		}
	}
}

// freeFor is freeAt for a request that has ahead others in front of it.
func (l *sendLog) freeFor(limit int, span int64, ahead int) int64 {
	rounds := int64(ahead/limit) + 1
	back := uint64(limit - ahead%limit)
	if back > l.next || l.next-back < l.first() {
		// This place was not used in the window: it is free this round.
		if rounds == 1 {
			return 0
		}
		return l.latest() + (rounds-1)*span
	}
	return l.at(l.next-back) + rounds*span
}

func (l *sendLog) latest() int64 {
	if l.next == l.first() {
		return 0
	}
	return l.at(l.next - 1)
}

// since counts the requests that may have arrived after the given time.
func (l *sendLog) since(after int64) int {
	low, high := l.first(), l.next
	for low < high {
		middle := low + (high-low)/2
		if l.at(middle) > after {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return int(l.next - low)
}
