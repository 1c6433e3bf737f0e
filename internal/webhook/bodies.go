package webhook

import (
	"errors"
	"io"
	"sync/atomic"
)

const (
	// smallBody is what anybody may have held, in bytes: as much as of a
	// request's header.
	smallBody = 64 << 10
	// MaxHeld is how much a sidecar should hold of larger bodies that are not
	// verified yet, in bytes.
	MaxHeld = 64 << 20
)

// errTooMuchHeld means that no more large bodies are read at the moment.
var errTooMuchHeld = errors.New("too much is held of bodies that are not verified yet")

// LargeBodies bound what strangers can have held: a body is read before it is known
// whether HubSpot has signed it. It is safe for concurrent use.
type LargeBodies struct{ left atomic.Int64 }

// NewLargeBodies makes room for so many bytes.
func NewLargeBodies(bytes int64) *LargeBodies {
	b := new(LargeBodies)
	b.left.Store(bytes)
	return b
}

func (b *LargeBodies) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// boundedBody takes room for a body as soon as it is a large one.
type boundedBody struct {
	io.Reader
	room        *LargeBodies
	read, taken int64
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += int64(n)
	if b.room != nil && b.taken == 0 && b.read > smallBody {
		if !b.room.take(MaxBody) {
			return 0, errTooMuchHeld
		}
		b.taken = MaxBody
	}
	return n, err
}

// release gives the room back.
func (b *boundedBody) release() {
	if b.taken > 0 {
		b.room.left.Add(b.taken)
		b.taken = 0
	}
}
