package filequeue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// The buckets of the file. Messages have numbers, in the order of Put.
var (
	// number → encoded message that waits or is out
	bucketMessages = []byte("messages")
	// number → encoded dead letter
	bucketDead = []byte("dead")
	// number → state, of both
	bucketStates = []byte("states")
	// ID → number, of both
	bucketIDs = []byte("ids")
	// flow, time, number → nothing: what may be received then. Of a lane that
	// is its first message only.
	bucketDue = []byte("due")
	// flow, hash of the lane, number → nothing: what waits in lanes
	bucketLanes = []byte("lanes")
	// number → bytes that are no message any more
	bucketDamaged = []byte("damaged")
	// a bucket per period, of keys of events → second in which they came
	bucketSeen = []byte("seen")
	// the counters
	bucketMeta = []byte("meta")

	buckets = [][]byte{
		bucketMessages, bucketDead, bucketStates, bucketIDs, bucketDue, bucketLanes, bucketDamaged, bucketSeen, bucketMeta,
	}
)

// overhead is about what a message takes beside its bytes.
const overhead = 256

func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func numberOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// flowOf names an app and a portal. No flow is the beginning of another's.
func flowOf(m webhookqueue.Message) string {
	b := binary.AppendUvarint(nil, uint64(len(m.App)))
	b = append(b, m.App...)
	return string(binary.BigEndian.AppendUint64(b, uint64(m.Portal)))
}

// flowOfKey is the flow of a key of bucketDue.
func flowOfKey(key []byte) string { return string(key[:len(key)-16]) }

// dueKey sorts by time within a flow.
func dueKey(flow string, due time.Time, number uint64) []byte {
	b := make([]byte, 0, len(flow)+16)
	b = append(b, flow...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(due.UnixMilli(), 0)))
	return binary.BigEndian.AppendUint64(b, number)
}

// dueOf is the time in a key of bucketDue.
func dueOf(key []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(key[len(key)-16:])))
}

// laneKey is what the keys of a lane in bucketLanes begin with.
func laneKey(flow, lane string) []byte {
	sum := sha256.Sum256([]byte(lane))
	return append([]byte(flow), sum[:16]...)
}

// state is what changes about a message.
type state struct {
	attempts   uint32
	due        time.Time
	lastAt     time.Time
	lastStatus int32
}

func (s state) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, s.attempts)
	b = binary.BigEndian.AppendUint64(b, uint64(s.due.UnixMilli()))
	last := int64(0)
	if !s.lastAt.IsZero() {
		last = s.lastAt.UnixMilli()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(last))
	return binary.BigEndian.AppendUint32(b, uint32(s.lastStatus))
}

var errState = errors.New("the state of a message is missing")

func decodeState(b []byte) (s state, err error) {
	if len(b) != 24 {
		return s, errState
	}
	s.attempts = binary.BigEndian.Uint32(b)
	s.due = time.UnixMilli(int64(binary.BigEndian.Uint64(b[4:])))
	if last := int64(binary.BigEndian.Uint64(b[12:])); last != 0 {
		s.lastAt = time.UnixMilli(last)
	}
	s.lastStatus = int32(binary.BigEndian.Uint32(b[20:]))
	return s, nil
}
