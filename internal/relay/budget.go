package relay

import "sync/atomic"

// DefaultBudget is how many bytes all envelopes and kept bodies take together
// if nothing else is said.
const DefaultBudget = 64 << 20

// Budget bounds the memory of things that are held as a whole: envelopes, and
// request bodies that are kept for another try. Relays share one. It is safe
// for concurrent use.
type Budget struct {
	left atomic.Int64
}

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	b := new(Budget)
	b.left.Store(bytes)
	return b
}

// take reports whether n bytes are left, and takes them.
func (b *Budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// give gives back what was taken.
func (b *Budget) give(n int64) { b.left.Add(n) }
