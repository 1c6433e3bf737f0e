package connection

import "time"

const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 30 * time.Second
)

// fullJitter returns a random wait before try n (from 1): anything up to
// backoffBase doubled with each try, and backoffMax at most. A server that
// fails sees its clients come back spread out.
func (m *Manager) fullJitter(n int) time.Duration {
	ceiling := backoffMax
	if n < 8 {
		ceiling = min(backoffBase<<(n-1), backoffMax)
	}
	return m.config.Random(ceiling) + time.Millisecond
}

// jitter returns d, more or less by a fifth.
func (m *Manager) jitter(d time.Duration) time.Duration {
	return d*4/5 + m.config.Random(d*2/5+1)
}

// refreshPoint draws the moment at which an access token is replaced: when
// between 50 and 80 per cent of its life are over, so that tokens issued
// together are not refreshed together.
func (m *Manager) refreshPoint(issued, expires time.Time) time.Time {
	life := expires.Sub(issued)
	if life <= 0 {
		return expires
	}
	return issued.Add(life/2 + m.config.Random(life*3/10+1))
}

// failed notes a refresh that failed for a passing reason, and when the next
// one may be tried: not before Retry-After, if HubSpot gave one.
func (m *Manager) failed(e *entry, retryAfter time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures++
	e.retryAt = time.Now().Add(max(m.fullJitter(e.failures), retryAfter))
}

// succeeded forgets earlier failures.
func (e *entry) succeeded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures, e.retryAt = 0, time.Time{}
}

// untilRetry is how long a failed connection is left alone: at least a
// second, so that a job that fails for another reason does not spin.
func (m *Manager) untilRetry(e *entry) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(time.Until(e.retryAt), m.jitter(time.Second))
}
