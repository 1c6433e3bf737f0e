package webhook

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// maxReplays is how many requests are remembered at a time, which takes about
// 50 MB. What comes beyond that is refused until some are old.
const maxReplays = 500_000

var (
	errReplay     = errors.New("the request has come before")
	errTooManyNew = errors.New("too many requests to remember")
)

// mark stands for a signature.
type mark [16]byte

func markOf(app string, version hubspot.SignatureVersion, signature string) (m mark) {
	sum := sha256.Sum256([]byte(app + "\x00" + string(version) + "\x00" + signature))
	copy(m[:], sum[:])
	return m
}

// Replays remember signatures for as long as they would be taken again. Make one
// with [NewReplays]. It is safe for concurrent use.
type Replays struct {
	max int

	mu sync.Mutex
	// known has when each can be forgotten.
	known map[mark]time.Time
	// swept is when those that can be were last forgotten.
	swept time.Time
}

// NewReplays makes an empty memory.
func NewReplays() *Replays { return &Replays{max: maxReplays, known: make(map[mark]time.Time)} }

// sweepEvery is how often old signatures are looked for.
const sweepEvery = 30 * time.Second

// note remembers a signature until a time, or says that it is known.
func (s *Replays) note(m mark, now, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	if known, ok := s.known[m]; ok && !now.After(known) {
		return errReplay
	}
	if len(s.known) >= s.max {
		return errTooManyNew
	}
	s.known[m] = until
	return nil
}

func (s *Replays) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for m, until := range s.known {
		if now.After(until) {
			delete(s.known, m)
		}
	}
}

// forget lets a signature come again.
func (s *Replays) forget(m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, m)
}
