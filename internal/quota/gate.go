package quota

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// gate is closed while HubSpot has said that it takes nothing.
type gate struct {
	// until is when the gate opens.
	until int64
	// refusals counts those in a row, and newest is the number of the
	// request that was next when the last one of them came.
	refusals int
	newest   uint64
	// probe is when the daily limit is tried again, while it is used up:
	// until is then the end of time.
	probe int64
}

// probeEvery is how often a used-up daily limit is tried. HubSpot resets it
// at midnight in the account's time zone, which is not known here.
const probeEvery = time.Minute

// maxDoublings bounds the pauses between refusals in a row.
const maxDoublings = 5

// close keeps the gate closed for as long as HubSpot asked, or for a pause
// that doubles with each refusal in a row up to the longest. Refusals of requests that were on
// their way together count as one.
func (g *gate) close(now int64, seq, next uint64, pause, longest int64, asked time.Duration) {
	if g.probe != 0 {
		return
	}
	if g.refusals == 0 || seq >= g.newest {
		g.refusals++
		g.newest = next
	}
	wait := int64(asked)
	if wait == 0 {
		wait = max(pause, min(pause<<min(g.refusals-1, maxDoublings), longest))
		wait = wait/2 + rand.Int64N(wait/2+1)
	}
	g.until = max(g.until, now+wait)
}

// passed notes that HubSpot took a request. One that was sent before the last
// refusal says nothing.
func (g *gate) passed(seq uint64) {
	if seq < g.newest {
		return
	}
	g.refusals = 0
	if g.probe != 0 {
		g.probe, g.until = 0, 0
	}
}

// daily notes that the daily limit is used up.
func (g *gate) daily(now int64, next uint64, asked time.Duration) *Refusal {
	if asked <= 0 {
		asked = probeEvery
	}
	g.newest = next
	g.until, g.probe = math.MaxInt64, now+int64(asked)
	return g.dailyRefusal(now)
}

func (g *gate) dailyRefusal(now int64) *Refusal {
	return &Refusal{Policy: hubspot.PolicyDaily, RetryAfter: time.Duration(max(g.probe-now, int64(time.Second)))}
}

// shut refuses requests while the daily limit is used up, except for one at
// a time that finds out whether it still is.
func (g *gate) shut(now int64) (probe bool, refusal *Refusal) {
	switch {
	case g.probe == 0:
		return false, nil
	case now < g.probe:
		return false, g.dailyRefusal(now)
	}
	g.probe = now + int64(probeEvery)
	return true, nil
}
