package relay

import "sync"

// DefaultBudget is how many bytes all envelopes and kept bodies take together
// if nothing else is said.
const DefaultBudget = 64 << 20

// Budget bounds the memory of things that are held as a whole: envelopes, and
// request bodies that are kept for another try. Nobody gets all of it: a caller
// may hold four times what it leaves to others, and a user token as much as it
// leaves, so that alone they have four fifths and a half, and less the more
// is in use. Relays share one. It is safe for concurrent use.
type Budget struct {
	mu   sync.Mutex
	left int64
	// held is what there is of each holder, without those that have nothing.
	held map[holder]int64
}

// holder is who holds bytes of a budget: a caller, or one of its user tokens.
type holder struct{ caller, token string }

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	return &Budget{left: bytes, held: make(map[holder]int64)}
}

// take reports whether there are n bytes for a holder, and takes them.
func (b *Budget) take(h holder, n int64) bool {
	if n == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left, caller := b.left-n, holder{caller: h.caller}
	if b.held[caller]+n > 4*left || h.token != "" && b.held[h]+n > left {
		return false
	}
	b.add(h, n)
	return true
}

// give gives back what a holder has taken.
func (b *Budget) give(h holder, n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(h, -n)
}

func (b *Budget) add(h holder, n int64) {
	b.left -= n
	b.account(holder{caller: h.caller}, n)
	if h.token != "" {
		b.account(h, n)
	}
}

func (b *Budget) account(h holder, n int64) {
	if b.held[h] += n; b.held[h] == 0 {
		delete(b.held, h)
	}
}
