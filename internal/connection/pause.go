package connection

import "time"

const (
	// probeEvery is how often a paused app tries one refresh.
	probeEvery = 30 * time.Second
	// giveWay is how long a connection that has had a probe leaves the next
	// one to those that have not.
	giveWay = 5 * time.Second
	// maxProbes bounds what is remembered of a pause: two hours of probes.
	maxProbes = 256
)

// pause is the rest that the refreshes of an app take while HubSpot refuses
// its credentials, but for one probe every probeEvery. Each probe goes by
// another connection where another one asks, so that one connection which is
// refused for a reason of its own cannot keep the others waiting. The zero
// value is no pause. The lock of alarms guards it.
type pause struct {
	// nextTry is when the next probe may go; zero if there is no pause.
	nextTry time.Time
	// cause is the refusal that was seen last.
	cause error
	// probes are the users that had their probe in this pause.
	probes map[string]*probe
	// fresh is the user that asked last, at freshAt, of those that had none.
	fresh   string
	freshAt time.Time
}

// probe is what a pause knows of a user that had one.
type probe struct {
	at    time.Time
	asked time.Time
	// refused says that HubSpot refused the app to this user's connection.
	refused bool
}

// refuse begins or prolongs the pause after user's refresh met cause.
func (p *pause) refuse(user string, now time.Time, cause error) {
	p.nextTry, p.cause = now.Add(probeEvery), cause
	p.had(user, now).refused = true
}

// admit returns how long user has to wait before it may refresh. Zero is now,
// and takes the probe if there is a pause.
func (p *pause) admit(user string, now time.Time) time.Duration {
	if p.nextTry.IsZero() {
		return 0
	}
	own := p.probes[user]
	if own == nil {
		p.fresh, p.freshAt = user, now
	} else {
		own.asked = now
	}
	if wait := p.nextTry.Sub(now); wait > 0 {
		return wait
	}
	if own != nil && p.othersFirst(own, now) {
		return giveWay
	}
	p.nextTry = now.Add(probeEvery)
	p.had(user, now)
	return 0
}

// othersFirst reports whether somebody who asks too has waited longer for a
// probe than own. Those who ask come back as soon as one may go.
func (p *pause) othersFirst(own *probe, now time.Time) bool {
	asks := func(at time.Time) bool { return !at.IsZero() && now.Sub(at) <= probeEvery }
	if p.probes[p.fresh] == nil && asks(p.freshAt) {
		return true
	}
	for _, other := range p.probes {
		if other.at.Before(own.at) && asks(other.asked) {
			return true
		}
	}
	return false
}

// had notes that user has had a probe.
func (p *pause) had(user string, now time.Time) *probe {
	if p.probes == nil || len(p.probes) >= maxProbes {
		p.probes = make(map[string]*probe)
	}
	if p.probes[user] == nil {
		p.probes[user] = new(probe)
	}
	p.probes[user].at = now
	return p.probes[user]
}
