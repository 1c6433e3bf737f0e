package quota

import (
	"math/rand/v2"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// gate is closed while HubSpot has said that it takes nothing.
type gate struct {
	// until is when the gate opens.
	until int64
	// refusals counts those in a row. newest is the number of the request
	// that was next when the last one of them came, at the time since.
	refusals int
	newest   uint64
	since    int64
	// probing is set if HubSpot asked for longer than is believed: once the
	// gate opens, one request at a time finds out. probe is its number.
	probing bool
	probe   uint64
	// daily is set while the daily limit is used up: nobody waits for that.
	daily bool
	// said is what closed the gate.
	said hubspot.Limited
}

// maxClosed is the longest that anything of HubSpot's saying keeps requests
// away without one that finds out whether it is so. HubSpot resets its daily
// limit at midnight in the account's time zone, which is not known here; and
// one wrong answer, HubSpot's or that of a box in between, must not shut an
// account for a day.
const maxClosed = time.Minute

// maxDoublings bounds the pauses between refusals in a row.
const maxDoublings = 5

// pauses are how long the gate is closed for a refusal that says no time: the
// first one, doubled with each in a row up to the longest.
type pauses struct{ first, longest int64 }

func (p pauses) after(refusals int) int64 {
	pause := max(p.first, min(p.first<<min(refusals-1, maxDoublings), p.longest))
	return pause/2 + rand.Int64N(pause/2+1)
}

// close takes in that request seq was refused, while next is the number of the
// next. Refusals of requests that were on their way together count as one, and
// close the gate no longer than the first of them can.
func (g *gate) close(now int64, seq, next uint64, said hubspot.Limited, p pauses) {
	late := g.refusals > 0 && seq < g.newest
	if late && (g.daily || g.probing && !said.Daily()) {
		return
	}
	if !late {
		g.refusals++
		g.newest, g.since = next, now
	}
	if !late && g.probing {
		g.until, g.probing, g.daily = 0, false, false
	}
	wait := int64(said.RetryAfter)
	switch {
	case wait == 0 && said.Daily():
		wait = int64(maxClosed)
	case wait == 0:
		wait = min(p.after(g.refusals), int64(maxClosed))
	}
	g.until = max(g.until, min(now+wait, g.since+int64(maxClosed)))
	g.daily = g.daily || said.Daily()
	g.probing = g.probing || g.daily || wait > int64(maxClosed)
	g.said = said
}

// sending notes that request seq goes now.
func (g *gate) sending(now int64, seq uint64) {
	if g.probing {
		g.until, g.probe = now+int64(maxClosed), seq
	}
}

// unknown notes that nothing came of a request: if it was to find out, the
// next one does.
func (g *gate) unknown(now int64, seq uint64) {
	if g.probing && g.probe == seq {
		g.until = min(g.until, now)
	}
}

// passed notes that HubSpot took a request. One that was sent before the last
// refusal says nothing.
func (g *gate) passed(seq uint64) {
	if seq < g.newest {
		return
	}
	g.refusals = 0
	if g.probing {
		g.until, g.probing, g.daily = 0, false, false
	}
}

// shut refuses requests while the daily limit is used up. The refusal is nil
// otherwise.
func (g *gate) shut(now int64) *Refusal {
	if !g.daily || now >= g.until {
		return nil
	}
	return &Refusal{Policy: hubspot.PolicyDaily, RetryAfter: max(time.Duration(g.until-now), time.Second)}
}
