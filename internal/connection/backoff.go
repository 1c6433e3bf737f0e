package connection

import "time"

const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 30 * time.Second
	// troubleBackoffMax is for a connection that HubSpot refuses and will
	// refuse again: many of them must not use up the quota of the others.
	troubleBackoffMax = 2 * time.Minute
)

// fullJitter returns a random wait before try n (from 1): anything up to
// backoffBase doubled with each try, and limit at most. A server that fails
// sees its clients come back spread out.
func (m *Manager) fullJitter(n int, limit time.Duration) time.Duration {
	ceiling := min(backoffBase<<min(n-1, 16), limit)
	return m.config.Random(ceiling) + time.Millisecond
}

// jitter returns d, more or less by a fifth.
func (m *Manager) jitter(d time.Duration) time.Duration {
	return d*4/5 + m.config.Random(d*2/5+1)
}

// Access tokens are replaced when between refreshFrom and refreshUntil of
// their life are over.
const (
	refreshFrom  = 0.5
	refreshUntil = 0.8
	// refreshEarliest is for apps with so many connections that the token
	// endpoint's quota does not let all be refreshed after refreshFrom.
	// Earlier still would only raise the number of refreshes.
	refreshEarliest = 0.4
)

// draw returns a random number from 0 up to 1.
func (m *Manager) draw() float64 {
	return m.config.Random(time.Second).Seconds()
}

// refreshPoint is the moment at which an access token is replaced. It depends
// on a number that was drawn for this token, so that tokens issued together
// are not refreshed together, and on how many connections there are by now:
// where refreshing all, at the pace of the token endpoint's quota, takes so
// long that the last would expire, refreshing begins earlier.
func (m *Manager) refreshPoint(r Record, draw float64) time.Time {
	if r.Static {
		return never
	}
	life := r.ExpiresAt.Sub(r.IssuedAt)
	if life <= 0 {
		return r.ExpiresAt
	}
	all := float64(m.cache.size.Load()) / m.budget.perSecond()
	from := 0.95 - all/life.Seconds()
	from = max(min(from, refreshFrom), refreshEarliest)
	return r.IssuedAt.Add(time.Duration(float64(life) * (from + draw*(refreshUntil-from))))
}

// failed notes a refresh that cause has failed for a passing reason, and when
// the next one may be tried: after a backoff of limit at most, and not before
// Retry-After, if HubSpot gave one.
func (m *Manager) failed(e *entry, limit, retryAfter time.Duration, cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures++
	e.failure = cause
	e.retryAt = time.Now().Add(max(m.fullJitter(e.failures, limit), retryAfter))
}

// succeeded forgets earlier failures.
func (e *entry) succeeded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures, e.failure, e.retryAt = 0, nil, time.Time{}
}

// untilRetry is how long a connection is left alone whose last job met err: at
// least a second, so that a job that fails for another reason does not spin.
func (m *Manager) untilRetry(e *entry, err error) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(time.Until(e.retryAt), heldFor(err)+m.jitter(time.Second))
}
