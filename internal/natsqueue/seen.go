package natsqueue

import (
	"encoding/binary"
	"maps"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// seen are the keys of the events of one second, as one message of the stream
// holds them.
type seen struct {
	seq uint64 // of that message; 0 if there is none
	at  map[webhookqueue.Key]uint32
}

const (
	seenEntry = len(webhookqueue.Key{}) + 4
	// maxSeen bounds the keys of one second, so that they go into a message.
	// Events of which HubSpot does not say when they occurred share a second.
	maxSeen = 32 << 10
	// seenTTL is how long keys are kept after the last was added. It is more
	// than the window so that a clock that is late does not matter.
	seenTTL = webhookqueue.Window + 5*time.Minute
)

func secondOf(k webhookqueue.Key) uint32 { return binary.BigEndian.Uint32(k[:]) }

// has reports whether a key was put within the window.
func (s seen) has(k webhookqueue.Key, now time.Time) bool {
	at, ok := s.at[k]
	return ok && now.Sub(time.Unix(int64(at), 0)) <= webhookqueue.Window
}

// with returns s and more keys, without those whose window is over.
func (s seen) with(keys []webhookqueue.Key, now time.Time) seen {
	at := maps.Clone(s.at)
	if at == nil {
		at = make(map[webhookqueue.Key]uint32, len(keys))
	}
	maps.DeleteFunc(at, func(k webhookqueue.Key, _ uint32) bool { return !s.has(k, now) })
	for _, k := range keys {
		at[k] = uint32(now.Unix())
	}
	for len(at) > maxSeen {
		oldest, first := webhookqueue.Key{}, uint32(1<<32-1)
		for k, t := range at {
			if t <= first {
				oldest, first = k, t
			}
		}
		delete(at, oldest)
	}
	return seen{seq: s.seq, at: at}
}

func (s seen) encode() []byte {
	b := make([]byte, 0, len(s.at)*seenEntry)
	for k, at := range s.at {
		b = binary.BigEndian.AppendUint32(append(b, k[:]...), at)
	}
	return b
}

func decodeSeen(seq uint64, b []byte) seen {
	s := seen{seq: seq, at: make(map[webhookqueue.Key]uint32, len(b)/seenEntry)}
	for ; len(b) >= seenEntry; b = b[seenEntry:] {
		s.at[webhookqueue.Key(b)] = binary.BigEndian.Uint32(b[len(webhookqueue.Key{}):])
	}
	return s
}

// maxCached bounds the keys that are remembered without asking the server.
const maxCached = 200_000

// seenCache has what the keys of a second were when this sidecar wrote or read
// them last. It may be behind: the server refuses what is written on top of what
// has changed. It is for one goroutine.
type seenCache struct {
	seconds map[uint32]seen
	keys    int
}

func (c *seenCache) get(second uint32) seen { return c.seconds[second] }

func (c *seenCache) set(second uint32, s seen) {
	if c.seconds == nil || c.keys > maxCached {
		c.seconds, c.keys = make(map[uint32]seen), 0
	}
	c.keys += len(s.at) + 1
	c.seconds[second] = s
}

func (c *seenCache) forget(second uint32) { delete(c.seconds, second) }
