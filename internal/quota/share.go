package quota

// share is what a bucket knows of others that use the same limit, and how
// much of it this process takes.
type share struct {
	// max in span is the limit as HubSpot announces it, or as configured.
	max  int
	span int64
	// told is set once HubSpot has announced it.
	told bool

	// shared is set while there is a sign of others; seen is when the last
	// one was.
	shared bool
	seen   int64
	// lates counts answers so late that HubSpot may have counted their
	// requests later than we think. The last one was at latest.
	lates  int
	latest int64
	// slots is how many requests in span this bucket may have, while
	// shared.
	slots float64
	// After infoAt, when HubSpot last told what is left after the request
	// infoSeq, ahead more requests may go at once; then one for each span
	// divided by slots, until HubSpot tells again.
	infoSeq uint64
	infoAt  int64
	ahead   float64
}

// The controller's constants. They were found by simulation: see the tests
// of fairness.
const (
	// reservePart of the limit is left free, but at least one request.
	reservePart = 100
	// floorPart of the limit is what a bucket takes in any case.
	floorPart = 20
	// gain is how much of what is left beyond the reserve is taken at once.
	gain = 0.35
	// yield is which part of its part of the limit a bucket gives up with
	// each answer.
	yield = 2
	// maxStep is how many slots are taken with one answer at the most: what
	// is left may be what others are about to use again.
	maxStep = 2
	// memory is for how many spans a sign of others is believed if nothing
	// is heard since.
	memory = 6
)

// limit is how many requests in span the bucket may have now.
func (s *share) limit() int {
	if !s.shared {
		return s.max
	}
	return int(s.slots)
}

func (s *share) floor() float64 { return float64(max(1, s.max/floorPart)) }

func (s *share) clamp(slots float64) float64 {
	return min(max(slots, s.floor()), float64(s.max))
}

// paceAt is when another request may go, as far as what HubSpot told last
// allows. next is the number of the request.
func (s *share) paceAt(next uint64) int64 {
	if !s.shared || !s.told || next <= s.infoSeq {
		return 0
	}
	beyond := float64(next-s.infoSeq) - s.ahead
	if beyond <= 0 {
		return 0
	}
	return s.infoAt + int64(beyond*float64(s.span)/s.slots)
}

// forget drops a sign of others that is too old.
func (s *share) forget(now int64) {
	if s.shared && now-s.seen > memory*s.span {
		s.shared = false
	}
}

// late notes that an answer came late.
func (s *share) late(now int64) {
	s.lates++
	s.latest = now
}

// sight is what one answer shows.
type sight struct {
	now, sent int64
	seq       uint64
	usage     Usage
	// contended is set if requests wait, or this one did.
	contended bool
}

// learn takes in what HubSpot tells of its limit.
func (s *share) learn(log *sendLog, v sight) {
	s.max, s.span, s.told = v.usage.Max, int64(v.usage.Per), true
	// All that HubSpot can have counted of ours: what was sent after this
	// request may have arrived before it.
	own := log.since(v.sent - s.span)
	others := v.usage.Max - v.usage.Remaining - own
	if v.now-s.latest > 2*s.span {
		s.lates = 0
	}
	switch {
	case others > s.lates:
		s.seen = v.now
		if !s.shared {
			s.shared, s.slots = true, float64(s.max)
		}
	case s.shared && v.now-s.seen > s.span:
		s.shared = false
	}
	if !s.shared || v.seq < s.infoSeq {
		return
	}
	s.adjust(log, v)
}

func (s *share) adjust(log *sendLog, v sight) {
	after := int(log.next - 1 - v.seq)
	mine := max(log.since(v.now-s.span)-after, 1)
	left := float64(v.usage.Remaining)
	others := max(v.usage.Max-v.usage.Remaining-mine, 1)
	reserve := max(1, float64(s.max)/reservePart)

	// Of what is left, the others will take as large a part as they have of
	// what is used; while much is left, that does not matter.
	s.ahead = max(left*float64(mine)/float64(mine+others), left-float64(s.max)/2)
	ceiling := float64(mine) + s.ahead
	if left > reserve {
		ceiling = max(ceiling, float64(mine)+max(1, gain*(left-reserve)))
	}
	if v.contended {
		// With more requests on their way, more answers tell of the same
		// state, so each has less weight.
		weight := min(gain, 2*gain/float64(1+after))
		s.slots += min(weight*(left-reserve), maxStep) - yield*s.slots/float64(s.max)
		s.slots = min(s.slots, ceiling)
	} else {
		s.slots = ceiling
	}
	s.slots = s.clamp(s.slots)
	s.infoSeq, s.infoAt = v.seq, v.now
	s.ahead = max(s.ahead, 1)
}

// grow is learn for an answer that tells nothing, as those of search do.
func (s *share) grow() {
	if !s.shared || s.told {
		return
	}
	s.slots += gain / s.slots
	if s.slots >= float64(s.max) {
		s.shared = false
	}
}

// full takes in that HubSpot refused a request because the limit is used up:
// what the bucket has in the window is all that it has.
func (s *share) full(log *sendLog, now int64, seq uint64) {
	after := int(log.next - 1 - seq)
	mine := float64(log.since(now-s.span) - after - 1)
	if !s.shared {
		s.slots = float64(s.max)
	}
	if !s.told {
		mine = min(mine, s.slots*2/3)
	}
	s.slots = s.clamp(min(s.slots, mine))
	s.shared, s.seen = true, now
	s.infoSeq, s.infoAt, s.ahead = max(s.infoSeq, seq), now, 0
}
