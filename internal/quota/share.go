package quota

import (
	"math"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// share is what a bucket knows of others that use the same limit, and how
// much of it this process takes.
type share struct {
	// max in span is the limit as HubSpot announces it, or as configured.
	max  int
	span int64
	// told is set once HubSpot has announced it, mute if it has answered and
	// never did.
	told, mute bool

	// shared is set while there is a sign of others; seen is when the last
	// one was.
	shared bool
	seen   int64
	// lates counts answers so late that HubSpot may have counted their
	// requests later than we think. The last one was at latest.
	lates  int
	latest int64

	// slots is how many requests in span this bucket may have, while shared.
	slots float64
	// left is what HubSpot says is left, smoothed: slots follow from it.
	left float64
	// What HubSpot told last was after the request infoSeq, at infoAt. What
	// we had by then and our part of what was left make the ceiling. Beyond
	// it, lack requests in a span may try their luck; probes of them have.
	infoSeq uint64
	infoAt  int64
	ceiling float64
	lack    float64
	probes  int
}

// The controller's constants. They were found by simulation: see TestShares.
const (
	// floorPart of the limit is what a bucket takes in any case.
	floorPart = 30
	// stepPart of the limit more of it left makes the slots e times as many.
	stepPart = 70
	// smoothing is over how many spans what is left is smoothed; one answer
	// stands for at most one of them.
	smoothing = 3
	// entry is where between the least and the most, on the scale of what is
	// left, a bucket that is new begins.
	entry = 0.5
	// claim bounds the part of what is left that a bucket takes at once, as
	// one that sees others for the first time sees few of them.
	claim = 0.35
	// spare is how many slots can be between two uses while all are used.
	spare = 2
	// lastTry of a request, after so many, is not left to luck if it can be
	// safe in time.
	lastTry = 2
	// gain and cut change the slots where HubSpot does not tell what is left.
	gain = 0.35
	cut  = 2.0 / 3
	// memory is for how many spans a sign of others is believed if nothing
	// is heard since.
	memory = 6
)

// newShare is for a limit that is configured, before anything is heard.
func newShare(limit int, span int64) share { return share{max: limit, span: span} }

// limit is how many requests in span the bucket may have now.
func (s *share) limit() int {
	if !s.shared {
		return s.max
	}
	return int(s.slots)
}

func (s *share) floor() float64 { return max(1, float64(s.max)/floorPart) }

// step is the difference in what is left that makes the slots e times as
// many. HubSpot tells whole requests, so much less than one is of no use.
func (s *share) step() float64 { return max(0.5, float64(s.max)/stepPart) }

// slotsFor is how many slots a bucket takes that sees so much left, and
// leftFor the inverse: the more a bucket has, the more it wants to see left.
func (s *share) slotsFor(left float64) float64 {
	return min(s.floor()*math.Exp(left/s.step()), float64(s.max))
}

func (s *share) leftFor(slots float64) float64 {
	return s.step() * math.Log(max(slots/s.floor(), 1))
}

// plenty is how much left makes for all the slots there are.
func (s *share) plenty() float64 { return s.leftFor(float64(s.max)) }

// freeAt is when there is a slot for another request. less of them are not
// for it.
func (s *share) freeAt(log *sendLog, less int, n need) int64 {
	at := log.freeAt(max(s.limit()-less, 1), s.span)
	if !s.shared || s.mute {
		return at
	}
	safe := log.freeAt(max(int(s.ceiling)-less, 1), s.span)
	switch {
	case n.again == 0:
		return max(at, min(safe, s.luckAt(n)))
	case n.again >= lastTry && max(at, safe) < n.until:
		return max(at, safe)
	}
	// HubSpot did not count it the time before, while we did.
	return min(max(at, safe), s.luckAt(n))
}

// luckAt is when a request tries its luck: the slots that are lacking are had
// in a span. One that was refused tries again in its time.
func (s *share) luckAt(n need) int64 {
	pause := float64(s.span) * float64(max(n.again, 1))
	if s.lack > 0 {
		pause = min(pause, float64(s.span)/s.lack)
	}
	if n.again > 0 {
		pause = min(pause, float64(n.until-s.infoAt)/2)
	}
	return s.infoAt + int64(float64(s.probes+1)*pause)
}

// sending notes that a request goes now.
func (s *share) sending(log *sendLog, now int64) {
	if s.shared && !s.mute && log.freeAt(max(int(s.ceiling), 1), s.span) > now {
		s.probes++
	}
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
	usage     hubspot.Usage
}

// learn takes in what HubSpot tells of its limit, and returns how many slots
// more there are for it.
func (s *share) learn(log *sendLog, v sight) (more float64) {
	s.max, s.span, s.told, s.mute = v.usage.Max, int64(v.usage.Per), true, false
	if v.seq < log.first() {
		return 0
	}
	// All that HubSpot can have counted of ours: what was sent after this
	// request may have arrived before it.
	own := log.since(v.sent - s.span)
	others := v.usage.Max - v.usage.Remaining - own
	if v.now-s.latest > 2*s.span {
		s.lates = 0
	}
	left, before := float64(v.usage.Remaining), s.slots
	switch {
	case others > s.lates:
		s.begin(v.now, left, s.mine(log, v))
	case s.shared && v.now-s.seen > s.span:
		s.shared = false
	}
	if !s.shared || v.seq < s.infoSeq {
		return 0
	}
	s.adjust(v, left, s.mine(log, v))
	return s.slots - before
}

// mine is how much of the limit was ours when HubSpot got the request.
func (s *share) mine(log *sendLog, v sight) float64 {
	after := int(log.next - 1 - v.seq)
	return float64(max(log.since(min(log.at(v.seq), v.now)-s.span)-after, 1))
}

// part is our part of what is used.
func (s *share) part(left, mine float64) float64 {
	return mine / max(float64(s.max)-left, mine+1)
}

// begin notes a sign of others. At the first one, a bucket keeps what it has,
// with its part of what is left.
func (s *share) begin(now int64, left, mine float64) {
	s.seen = now
	if s.shared {
		return
	}
	s.shared, s.infoAt = true, now
	s.left = max(s.leftFor(mine+left*min(s.part(left, mine), claim)), s.plenty()*entry)
	s.slots = s.slotsFor(s.left)
}

// adjust takes in how much is left, while mine of the limit was ours.
func (s *share) adjust(v sight, left, mine float64) {
	target := min(left, s.plenty())
	// What is left says nothing of slots that are not used.
	if target < s.left || mine >= s.slots-spare {
		held := min(float64(v.now-s.infoAt)/float64(s.span), 1)
		s.left += -math.Expm1(-held/smoothing) * (target - s.left)
		if surplus := (left - s.plenty()) * min(s.part(left, mine), claim); surplus > 0 {
			s.left = max(s.left, s.leftFor(mine+surplus))
		}
	}
	s.slots = s.slotsFor(s.left)
	s.infoSeq, s.infoAt, s.probes = max(s.infoSeq, v.seq), v.now, 0
	s.lack = s.slots - mine
	// Of what is left, the others will take as large a part as they have of
	// what is used.
	s.ceiling = mine
	if left > 0 {
		s.ceiling += max(1, left*s.part(left, mine))
	}
}

// grow is learn for an answer that tells nothing, as those of search do.
func (s *share) grow() {
	if s.mute = !s.told; !s.mute || !s.shared {
		return
	}
	s.slots += gain / s.slots
	if s.slots >= float64(s.max) {
		s.shared = false
	}
}

// full takes in that HubSpot refused a request because the limit is used up.
func (s *share) full(log *sendLog, v sight) {
	if v.seq < log.first() {
		return
	}
	mine := s.mine(log, v) - 1
	s.begin(v.now, 0, mine)
	if s.mute {
		s.slots = max(1, s.slots*cut)
		return
	}
	s.adjust(v, 0, mine)
}
