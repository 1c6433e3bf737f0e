package quota

import (
	"sync"
	"time"
)

// set holds the buckets of one quota by portal, the last used first.
type set struct {
	limiter *Limiter
	rate    Rate
	policy  string
	size    int

	mu      sync.Mutex
	buckets map[int64]*bucket
	// ends is the sentinel of a ring: ends.more is the bucket used last,
	// ends.prev the one used least.
	ends bucket
}

func (s *set) init(l *Limiter, rate Rate, policy string, size int) {
	s.limiter, s.rate, s.policy, s.size = l, rate, policy, size
	s.buckets = make(map[int64]*bucket)
	s.ends.prev, s.ends.more = &s.ends, &s.ends
}

// get returns the bucket of a portal.
func (s *set) get(hubID, now int64) *bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[hubID]
	if !ok {
		s.shrink(now)
		b = newBucket(s.limiter, hubID, s.rate, s.policy)
		s.buckets[hubID] = b
		s.insert(b)
	} else if s.ends.more != b {
		b.prev.more, b.more.prev = b.more, b.prev
		s.insert(b)
	}
	b.used = now
	return b
}

func (s *set) insert(b *bucket) {
	b.prev, b.more = &s.ends, s.ends.more
	b.prev.more, b.more.prev = b, b
}

// staleAfter is the least time after which a bucket is of no more use.
const staleAfter = time.Minute

// shrink makes room for one bucket, and forgets up to two that know nothing
// of use any more. Waiters and tickets keep a forgotten bucket to themselves.
func (s *set) shrink(now int64) {
	stale := now - max(int64(staleAfter), memory*int64(s.rate.Per))
	for range 2 {
		b := s.ends.prev
		if b == &s.ends {
			return
		}
		if len(s.buckets) < s.size && (b.used > stale || !b.idle(now)) {
			return
		}
		b.prev.more, b.more.prev = b.more, b.prev
		delete(s.buckets, b.hubID)
	}
}

// headroom is the smallest of the buckets used within the last window.
func (s *set) headroom(now int64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := 1.0
	for b := s.ends.more; b != &s.ends && b.used > now-int64(s.rate.Per); b = b.more {
		if part, ok := b.headroom(now); ok {
			least = min(least, part)
		}
	}
	return least
}
