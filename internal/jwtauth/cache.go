package jwtauth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// cacheTime is how long a verified token is taken for good.
	cacheTime = time.Minute
	// cacheSize is how many verified tokens are remembered.
	cacheSize = 4096
)

// cache remembers verified tokens by their digests, as to verify a signature
// takes a hundred times longer than to look one up. The zero value is empty.
type cache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]verified
}

type verified struct {
	claims Claims
	until  time.Time
}

func (c *cache) get(sum [sha256.Size]byte, now time.Time) (Claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.entries[sum]
	if !ok || !now.Before(v.until) {
		return Claims{}, false
	}
	return v.claims, true
}

// put remembers a token. When there are too many, all are forgotten: what is in
// use is back soon.
func (c *cache) put(sum [sha256.Size]byte, claims Claims, now time.Time) {
	until := now.Add(cacheTime)
	if claims.Expires.Before(until) {
		until = claims.Expires
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= cacheSize {
		c.entries = make(map[[sha256.Size]byte]verified)
	}
	c.entries[sum] = verified{claims: claims, until: until}
}
