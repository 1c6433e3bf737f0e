package connection

import (
	"math/rand/v2"
	"time"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 30 * time.Second
)

// fullJitter returns a random wait before try n (from 1): anything up to
// backoffBase doubled with each try, and backoffMax at most. A server that
// fails sees its clients come back spread out.
func fullJitter(n int) time.Duration {
	ceiling := backoffMax
	if n < 8 {
		ceiling = min(backoffBase<<(n-1), backoffMax)
	}
	return rand.N(ceiling) + time.Millisecond
}

// jitter returns d, more or less by a fifth.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// refreshPoint draws the moment at which an access token is replaced: when
// between 50 and 80 per cent of its life are over, so that tokens issued
// together are not refreshed together.
func refreshPoint(issued, expires time.Time) time.Time {
	life := expires.Sub(issued)
	if life <= 0 {
		return expires
	}
	return issued.Add(life/2 + rand.N(life*3/10+1))
}

// failed notes a refresh that failed for a passing reason and returns when
// the next one may be tried: after Retry-After if HubSpot gave one.
func (e *entry) failed(retryAfter time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures++
	e.retryAt = time.Now().Add(max(fullJitter(e.failures), retryAfter))
	return e.retryAt
}

// succeeded forgets earlier failures.
func (e *entry) succeeded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures, e.retryAt = 0, time.Time{}
}

// untilRetry is how long a failed connection is left alone: at least a
// second, so that a job that fails for another reason does not spin.
func (e *entry) untilRetry() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(time.Until(e.retryAt), jitter(time.Second))
}
