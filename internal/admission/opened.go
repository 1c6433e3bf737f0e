package admission

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

const (
	// maxOpened bounds how many opened user tokens are remembered.
	maxOpened = 4096
	// openedFor is how long one is remembered at the most.
	openedFor = time.Minute
)

// openedTokens remembers what user tokens stand for, by the SHA-256 of their
// text: opening the seal costs as much as the rest of a call. They belong to
// one config, so that a caller who is gone or has another policy is not
// remembered, and to one set of client secrets. The zero value is empty. It is
// safe for concurrent use.
type openedTokens struct {
	mu     sync.RWMutex
	bySum  map[[sha256.Size]byte]openedToken
	oldest time.Time
}

// openedToken is what a token stands for, which sealer opened it, and until
// when that is true.
type openedToken struct {
	caller *access.Caller
	sealer *usertoken.Sealer
	until  time.Time
}

func (o *openedTokens) get(sum [sha256.Size]byte, sealer *usertoken.Sealer, now time.Time) (*access.Caller, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	known, ok := o.bySum[sum]
	if !ok || known.sealer != sealer || !now.Before(known.until) {
		return nil, false
	}
	return known.caller, true
}

// put remembers a token. When there are too many, or the oldest is too old, all
// are forgotten: what is in use is back soon.
func (o *openedTokens) put(sum [sha256.Size]byte, t openedToken, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.bySum) == 0 || len(o.bySum) >= maxOpened || now.Sub(o.oldest) > openedFor {
		o.bySum = make(map[[sha256.Size]byte]openedToken)
		o.oldest = now
	}
	if limit := now.Add(openedFor); t.until.After(limit) {
		t.until = limit
	}
	o.bySum[sum] = t
}
