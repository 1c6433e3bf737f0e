package quota

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// State is what is known of one limit of a portal at a moment.
type State struct {
	HubID int64
	Limit hubspot.Limit
	// Rate is what may be sent, by the settings and by what HubSpot says of
	// its limit. Of a shared portal it is what this process takes.
	Rate Rate
	// Shared is set while there is a sign of others on the portal.
	Shared bool
	// Used requests of this process are in the window; Left ones can be sent
	// now.
	Used, Left int
	// Waiting requests have asked and found no place yet.
	Waiting int
	// ClosedFor is how long nothing is sent, because HubSpot has Said so; 0
	// if it has not. Probing: one request at a time then finds out whether
	// it is still so.
	ClosedFor time.Duration
	Said      hubspot.Limited
	Probing   bool
}

// States returns what is known of all portals, or of one: by portal, the burst
// limit first. hubID 0 is all.
func (l *Limiter) States(hubID int64) []State {
	now := l.now()
	states := slices.Concat(
		l.burst.states(now, hubID, hubspot.BurstLimit),
		l.search.states(now, hubID, hubspot.SearchLimit))
	slices.SortStableFunc(states, func(a, b State) int { return cmp.Compare(a.HubID, b.HubID) })
	return states
}

// Reset forgets what HubSpot has said of its limits and of others, on all
// portals or on one: gates open, and answers to what was sent before count no
// more. What was sent stays counted. hubID 0 is all. ok is false if nothing is
// known of the portal.
func (l *Limiter) Reset(hubID int64) (ok bool) {
	now := l.now()
	buckets := slices.Concat(l.burst.known(hubID), l.search.known(hubID))
	for _, b := range buckets {
		b.forget(now)
	}
	return len(buckets) > 0 || hubID == 0
}

// known returns the bucket of a portal, or all.
func (s *set) known(hubID int64) []*bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var buckets []*bucket
	for id, b := range s.buckets {
		if hubID == 0 || id == hubID {
			buckets = append(buckets, b)
		}
	}
	return buckets
}

func (s *set) states(now, hubID int64, limit hubspot.Limit) []State {
	var states []State
	for _, b := range s.known(hubID) {
		state := b.state(now)
		state.Limit = limit
		states = append(states, state)
	}
	return states
}

func (b *bucket) state(now int64) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share.forget(now)
	count, per := b.count, b.per
	if b.share.limit() < count || b.share.span > per {
		count, per = min(count, b.share.limit()), max(per, b.share.span)
	}
	state := State{
		HubID: b.hubID, Rate: Rate{Count: count, Per: time.Duration(per)}, Shared: b.share.shared,
		Used: b.sends.since(now - per), Waiting: b.line.n[Interactive] + b.line.n[Batch],
	}
	state.Left = max(count-state.Used, 0)
	if b.gate.until > now || b.gate.probing {
		state.ClosedFor, state.Left = time.Duration(max(b.gate.until-now, 0)), 0
		state.Said, state.Probing = b.gate.said, b.gate.probing
	}
	return state
}

// forget drops what HubSpot has said.
func (b *bucket) forget(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate, b.share = gate{}, newShare(b.count, b.per)
	b.reset = b.sends.next
	b.pump(now)
}
