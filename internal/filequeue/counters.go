package filequeue

import (
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// counters say what the file holds, so that nobody has to count it.
type counters struct {
	Waiting int   `json:"waiting"`
	Dead    int   `json:"dead"`
	Bytes   int64 `json:"bytes"`
	// Periods are those of bucketSeen, the oldest first.
	Periods []period `json:"periods"`
}

// total is what counts towards the bound.
func (c counters) total() int64 { return c.Bytes + c.seenBytes() }

func (c counters) seenBytes() (n int64) {
	for _, p := range c.Periods {
		n += int64(p.Keys) * keyBytes
	}
	return n
}

func (c counters) clone() counters {
	c.Periods = slices.Clone(c.Periods)
	return c
}

var countersKey = []byte("counters")

func readCounters(b *bolt.Tx) (c counters, err error) {
	v := b.Bucket(bucketMeta).Get(countersKey)
	if v == nil {
		return c, nil
	}
	if err := json.Unmarshal(v, &c); err != nil {
		return c, fmt.Errorf("reading counters: %w", err)
	}
	return c, nil
}

func (c counters) save(b *bolt.Tx) error {
	v, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return b.Bucket(bucketMeta).Put(countersKey, v)
}
