package filequeue

import (
	"encoding/binary"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Keys of events are kept in periods, so that old ones go all at once. A period
// ends after seenPeriod, or when it has its part of what keys may take.
const (
	seenPeriod = 4 * time.Hour
	// keyBytes is about what a key takes in the file.
	keyBytes = 64
	// seenPart is the part of the bound that keys may take, and periodPart the
	// part that one period may: of a queue that gets more than that in a day
	// the oldest keys go early.
	seenPart   = 4
	periodPart = 4 * seenPart
)

// period is a bucket of keys.
type period struct {
	// Since is when it began, in Unix milliseconds; it is the bucket's name.
	Since int64 `json:"since"`
	Keys  int   `json:"keys"`
}

func (p period) name() []byte { return binary.BigEndian.AppendUint64(nil, uint64(p.Since)) }

// seen reports whether a key has come within the window.
func (t *transaction) seen(k webhookqueue.Key, now time.Time) bool {
	all := t.Bucket(bucketSeen)
	for _, p := range t.counters.Periods {
		v := all.Bucket(p.name()).Get(k[:])
		if len(v) == 4 && now.Unix()-int64(binary.BigEndian.Uint32(v)) <= int64(webhookqueue.Window/time.Second) {
			return true
		}
	}
	return false
}

// remember notes keys that are not yet there, and forgets those of long ago.
func (t *transaction) remember(keys []webhookqueue.Key, now time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	all := t.Bucket(bucketSeen)
	if err := t.forgetPeriods(now); err != nil {
		return err
	}
	if t.periodIsOver(now) {
		p := period{Since: now.UnixMilli()}
		for _, other := range t.counters.Periods {
			p.Since = max(p.Since, other.Since+1)
		}
		if _, err := all.CreateBucketIfNotExists(p.name()); err != nil {
			return err
		}
		t.counters.Periods = append(t.counters.Periods, p)
	}
	last := &t.counters.Periods[len(t.counters.Periods)-1]
	into := all.Bucket(last.name())
	at := binary.BigEndian.AppendUint32(nil, uint32(now.Unix()))
	for _, k := range keys {
		if err := into.Put(k[:], at); err != nil {
			return err
		}
	}
	last.Keys += len(keys)
	return nil
}

func (t *transaction) periodIsOver(now time.Time) bool {
	n := len(t.counters.Periods)
	if n == 0 {
		return true
	}
	last := t.counters.Periods[n-1]
	full := t.max > 0 && int64(last.Keys)*keyBytes > t.max/periodPart
	return full || now.UnixMilli()-last.Since > seenPeriod.Milliseconds()
}

// forgetPeriods removes periods of which every key is too old, and the oldest
// when there are too many keys, but never the newest.
func (t *transaction) forgetPeriods(now time.Time) error {
	for len(t.counters.Periods) > 1 {
		// The newest key of a period is no newer than the next period.
		old := now.UnixMilli()-t.counters.Periods[1].Since > webhookqueue.Window.Milliseconds()+1000
		many := t.max > 0 && t.counters.seenBytes() > t.max/seenPart
		if !old && !many {
			return nil
		}
		if err := t.Bucket(bucketSeen).DeleteBucket(t.counters.Periods[0].name()); err != nil {
			return err
		}
		t.counters.Periods = t.counters.Periods[1:]
	}
	return nil
}
