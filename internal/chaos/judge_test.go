package chaos_test

import (
	"slices"
	"time"
)

// Causes of a refresh that was one too many, or of a connection that is lost.
// One without a known cause is a failure of the protocol.
const (
	causeNone      = "unexplained"
	causeMangled   = "answer lost on the way: token endpoint broken"
	causeLate      = "answer came after the sidecar had given up waiting"
	causeKilled    = "sidecar killed between HubSpot's answer and the write"
	causePaused    = "sidecar stopped between HubSpot's answer and the write"
	causeOverslept = "sidecar stopped between its claim and the call"
	causeVault     = "Vault away between HubSpot's answer and the write"
	causeNoClaim   = "Vault away: refreshed without a claim"
	causeWoke      = "sidecar stopped: it took that for an outage of Vault"
	causeOvertaken = "Vault back: a result from the outage took a claim's place"
	causeForced    = "HubSpot refused a valid access token"
)

// verdict is what the ledger shows of one connection.
type verdict struct {
	expected   int
	seen       int
	duplicates map[string]int // by cause
	lost       []string       // the cause of each time it was lost
}

// judge goes through what happened to a connection since from, or ever if that
// is zero. A refresh is expected when the newest token has lived half its
// life; any other is a duplicate, of the one that got the newest token.
func (l *ledger) judge(c *conn, from time.Time) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := verdict{duplicates: make(map[string]int)}
	var last *attempt
	revoked := false
	for _, a := range c.history {
		counts := a.answered.After(from)
		switch {
		case a.install:
			last, revoked = a, false
		case a.issued:
			if counts {
				v.seen++
				switch {
				case c.isDue(last, a):
					v.expected++
				case last.answered.After(from):
					v.duplicates[l.why(last, a)]++
				}
			}
			last = a
		case a.refused && !revoked:
			revoked = true
			if counts {
				v.lost = append(v.lost, l.why(last, a))
			}
		}
	}
	return v
}

// tolerance is for the time between a moment in a sidecar and in the ledger.
const tolerance = 200 * time.Millisecond

// isDue reports whether the token of last was old enough to be replaced.
func (c *conn) isDue(last, next *attempt) bool {
	issued := last.begun()
	if stored, ok := c.stored[last.access]; ok && !stored.issued.IsZero() {
		issued = stored.issued
	}
	return next.begun().Sub(issued) >= c.life/2-tolerance
}

// why finds the cause of a refresh that came too early after last, or with a
// refresh token that last had replaced.
func (l *ledger) why(last, next *attempt) string {
	c := next.conn
	switch {
	case next.claim != nil && next.claim.access == last.access:
		// It knew the newest token and replaced it all the same.
		if c.refusedAccess[last.access] {
			return causeForced
		}
		return causeNone
	case !c.rotating && (l.degraded(next) || l.degraded(last)):
		return causeNoClaim
	case !c.rotating && (l.woke(next) || l.woke(last)):
		return causeWoke
	case !c.rotating && (c.overtaken(last, next.begun()) || c.overtaken(next, last.answered)):
		return causeOvertaken
	case last.begun().After(next.begun()):
		// It claimed first and asked last, when its claim had run out.
		if l.pausedPast(next.by, next.begun(), next.arrived, c.life/3) {
			return causeOverslept
		}
		return causeNone
	case !last.delivered:
		return l.whyUndelivered(last, next)
	}
	return l.whyUnwritten(last, next)
}

// degraded reports whether a refresh was made without a claim by a sidecar
// that was just then without Vault: it takes 3 s to see that.
func (l *ledger) degraded(a *attempt) bool {
	return a.claim == nil && !a.install && l.cutOff(a.by, a.arrived.Add(-5*time.Second), a.arrived)
}

// woke reports whether a refresh was made without a claim by a sidecar that had
// stood still for so long that its question to Vault had timed out.
func (l *ledger) woke(a *attempt) bool {
	return a.claim == nil && !a.install && slices.ContainsFunc(l.faults, func(f *fault) bool {
		return f.kind == paused && f.sidecar == a.by && f.end.Sub(f.start) >= 2*time.Second &&
			!f.end.After(a.arrived) && f.end.After(a.arrived.Add(-5*time.Second))
	})
}

// overtaken reports whether tokens that a sidecar had got without a claim, in
// an outage, were written between the claim of a and the time given: the
// claim is gone with that.
func (c *conn) overtaken(a *attempt, until time.Time) bool {
	return slices.ContainsFunc(c.history, func(other *attempt) bool {
		stored, ok := c.stored[other.access]
		return ok && other != a && other.claim == nil && !other.install &&
			stored.at.After(a.begun()) && !stored.at.After(until)
	})
}

func (l *ledger) whyUndelivered(last, next *attempt) string {
	switch {
	case last.mangled:
		return causeMangled
	case l.died(last.by, last.arrived, next.begun()):
		return causeKilled
	case l.during(last.by, last.arrived, next.begun(), paused) != nil:
		return causePaused
	}
	return causeLate
}

func (l *ledger) whyUnwritten(last, next *attempt) string {
	if stored, ok := last.conn.stored[last.access]; ok && stored.at.Before(next.begun()) {
		return causeNone // it was there to be read
	}
	switch {
	case l.died(last.by, last.arrived, next.begun()):
		return causeKilled
	case l.pausedPast(last.by, last.arrived, next.begun(), last.conn.life/9):
		return causePaused // it woke up after the timeout of its call
	case !last.conn.rotating && l.cutOff(last.by, last.arrived, next.begun()):
		return causeVault
	}
	return causeNone
}

// pausedPast reports whether the sidecar was stopped between the two moments
// and went on no sooner than limit after the first.
func (l *ledger) pausedPast(sidecar int, from, to time.Time, limit time.Duration) bool {
	return slices.ContainsFunc(l.faults, func(f *fault) bool {
		return f.kind == paused && f.sidecar == sidecar && !f.start.After(to) && f.end.Sub(from) >= limit-tolerance
	})
}

// died reports whether the sidecar was killed between the two moments.
func (l *ledger) died(sidecar int, from, to time.Time) bool {
	return slices.ContainsFunc(l.faults, func(f *fault) bool {
		return f.kind == killed && f.sidecar == sidecar && !f.start.Before(from) && !f.start.After(to)
	})
}
